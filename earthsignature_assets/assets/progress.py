"""The progress of long steps: in Dagster's log at every tenth, and to a watcher in the same process.

The progress bars of the command line are in `cli/progress.py`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

Watcher = Callable[[int, int], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with the units done and the total, for every step that runs in this block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def progress_of(context: dg.AssetExecutionContext, what: str, unit: str) -> Watcher:
    """Return the function that a long step calls with the units done and the total.

    Args:
        context: context of the step, for its log.
        what: name of the work.
        unit: name of the units, in the plural.
    """
    watcher, started, logged_tenth = _watcher.get(), time.monotonic(), [0]

    def report(done: int, of: int) -> None:
        if watcher:
            watcher(done, of)
        tenth = 10 * done // of
        if tenth > logged_tenth[0]:
            logged_tenth[0] = tenth
            left_s = (time.monotonic() - started) * (of - done) / done
            context.log.info("%s: %d of %d %s, about %.0f s left", what, done, of, unit, left_s)

    return report
