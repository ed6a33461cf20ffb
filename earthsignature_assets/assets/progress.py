"""How far a long step is: in Dagster's log at every tenth, and before the eyes of whoever runs it in this process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

Watcher = Callable[[int, int], None]

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with what is done and what there is in all, for every step that runs in this block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def progress_of(context: dg.AssetExecutionContext, what: str, unit: str) -> Watcher:
    """What a long step calls with the units done and the units in all.

    Args:
        context: the step's, for its log.
        what: what is worked on.
        unit: what is counted, in the plural.
    """
    watcher, started, told = _watcher.get(), time.monotonic(), [0]

    def report(done: int, of: int) -> None:
        if watcher:
            watcher(done, of)
        tenth = 10 * done // of
        if tenth > told[0]:
            told[0] = tenth
            left_s = (time.monotonic() - started) * (of - done) / done
            context.log.info("%s: %d of %d %s, about %.0f s left", what, done, of, unit, left_s)

    return report
