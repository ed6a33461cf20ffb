"""`earthsignature verify`, `sweep` and `catalogue …`: the care of the published products."""

import datetime as dt
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from earthsignature_assets.errors import ProductError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.store.product_store import ProductStore

_MOST_LINES = 50


def verify_store(store: ProductStore, console: Console) -> None:
    """Re-check every file of every product, name what is damaged, and say how to mend it.

    Raises:
        ProductError: something is damaged.
        StoreUnavailableError: the store cannot be reached.
    """
    from earthsignature_assets.products.store.verification import verify

    damaged = checked = 0
    with store.open_catalogue(read_only=True) as catalogue, _progress(console) as progress:
        total = sum(1 for _ in catalogue.folders())
        task = progress.add_task("Verifying", total=total)
        for product, damages in verify(store.storage, catalogue):
            for damage in damages:
                console.print(f"{store.address(product, damage.asset)} {damage.fault}", soft_wrap=True, highlight=False)
            damaged += bool(damages)
            checked += 1
            progress.advance(task)
    if damaged:
        raise ProductError(
            f"{damaged} of {checked} products are damaged: restore their files, or materialise their partition "
            "`land_cover_product` again, which mends them"
        )
    console.print(f"{checked} products: every file is as it was published, every code is one of the 44")


def sweep_store(store: ProductStore, older_than: dt.timedelta, console: Console) -> None:
    """Remove what dead publishers left and what was superseded.

    Raises:
        StoreUnavailableError: the store cannot be reached or written.
    """
    with console.status("Looking for what no reader can need"):
        removed = store.sweep(older_than)
    _list(console, removed)
    console.print(f"{len(removed)} folders removed")


def rebuild_catalogue(store: ProductStore, console: Console) -> None:
    """Make the catalogue say what the store holds.

    Raises:
        ProductError: a folder's item could not be used; the others are in the catalogue.
        StoreUnavailableError: the store or the catalogue cannot be reached.
    """
    from earthsignature_assets.products.store.rebuild import rebuild

    with store.open_catalogue() as catalogue:
        with _progress(console) as progress:
            task = progress.add_task("Reading items", total=None)
            report = rebuild(store.storage, catalogue, lambda _: progress.advance(task))
        promotions = catalogue.promotions()
    _list(console, [f"{folder}: {reason}" for folder, reason in report.damaged])
    console.print(
        f"{report.products} products in the store: {len(report.recorded)} recorded, "
        f"{len(report.forgotten)} rows without files removed"
    )
    if promotions:
        console.print(
            f"{promotions[0].model} is promoted (by {promotions[0].who}); `earthsignature models promote` changes it"
        )
    if report.damaged:
        raise ProductError(f"{len(report.damaged)} folders could not be used: restore them, or let `sweep` remove them")


def export_catalogue(store: ProductStore, folder: Path, model: ModelVersion | None, console: Console) -> None:
    """Write the archive as a static STAC catalogue with stac-geoparquet.

    Raises:
        ProductError: the folder holds something else, or a product's item is lost.
        StoreUnavailableError: the store cannot be read, or the folder not be written.
    """
    from earthsignature_assets.products.static_catalogue import export_stac

    with store.open_catalogue(read_only=True) as catalogue, _progress(console) as progress:
        task = progress.add_task("Exporting", total=catalogue.count(model))
        written = export_stac(store, catalogue, folder, model, lambda _: progress.advance(task))
    console.print(f"{written} items in [bold]{folder / 'catalog.json'}[/]")


def _list(console: Console, lines: list[str]) -> None:
    for line in lines[:_MOST_LINES]:
        console.print(line, soft_wrap=True, highlight=False)
    if len(lines) > _MOST_LINES:
        console.print(f"… and {len(lines) - _MOST_LINES} more")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
