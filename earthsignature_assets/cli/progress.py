"""Progress bars of the command line. What a Dagster step logs is in `assets/progress.py`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from earthsignature_grpc.client import Progress as Received

_NAMED_BAR = (TextColumn("{task.description}"), BarColumn())


def progress_bars(console: Console, *, transient: bool = False) -> Progress:
    """Make bars with title, amount, elapsed and remaining time."""
    columns = (*_NAMED_BAR, MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=transient)


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show one bar while the block runs; yield the function that takes the amount done and the total."""
    with progress_bars(console, transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def download_bar(console: Console) -> "Iterator[Callable[[Received], None]]":
    """Show the file that is downloaded while the block runs, if the console is a terminal."""
    columns = (*_NAMED_BAR, DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def show(received: "Received") -> None:
            if not received.received_bytes:
                bars.reset(bar)
            bars.update(
                bar, description=received.file_name, completed=received.received_bytes, total=received.total_bytes
            )

        yield show
