"""`earthsignature export`: polygons of published products as files of other programs."""

import datetime as dt
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from earthsignature_assets.errors import QueryError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion, parse_product_id, parse_tile
from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_assets.products.polygons.polygon_export import ExportFormat, export_polygons
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore

_DAY = dt.timedelta(days=1) - dt.timedelta(microseconds=1)


def export_products(
    store: ProductStore,
    form: ExportFormat,
    folder: Path,
    console: Console,
    *,
    names: tuple[str, ...] = (),
    tile: str | None = None,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    model: str | None = None,
    everything: bool = False,
) -> list[Path]:
    """Export every product that is chosen, a file each; returns the files.

    Args:
        store: where the products are.
        form: the format.
        folder: where the files go, made if absent; what has the same name is replaced.
        console: where progress is shown and each file is named.
        names: Sentinel-2 product names.
        tile: an MGRS tile.
        start: first day of acquisition.
        end: last day of acquisition.
        model: model version; by default the current one of each product.
        everything: without any other choice, all products.

    Raises:
        QueryError: nothing is chosen, or nothing is there that fits.
        InvalidKeyError: a product name, tile or model version that does not parse.
        ProductError: a product's polygons are damaged; files written before it stay.
        StoreUnavailableError: the store cannot be read, or a file cannot be written.
    """
    if not (names or tile or start or end or everything):
        raise QueryError("product", "none is chosen: name products, give --tile, --start or --end, or --all")
    wanted = frozenset(parse_product_id(name) for name in names)
    tile = parse_tile(tile) if tile else None
    query = ProductQuery(
        start=start.replace(tzinfo=dt.UTC) if start else None,
        end=end.replace(tzinfo=dt.UTC) + _DAY if end else None,
        product_ids=wanted or None,
        model=ModelVersion.parse(model) if model else None,
    )
    with store.open_catalogue(read_only=True) as catalogue:
        products = [product for product in catalogue.search(query) if tile in (None, product.scene.tile)]
    absent = wanted - {product.product_id for product in products}
    if absent:
        raise QueryError("product", f"{store} holds none of that choice with the name {', '.join(sorted(absent))}")
    if not products:
        raise QueryError("product", f"{store} holds none that fits; `earthsignature missing` tells what could be made")
    return _export(store, products, form, folder, console)


def _export(
    store: ProductStore, products: list[Product], form: ExportFormat, folder: Path, console: Console
) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    written = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("exporting", total=len(products))
        for product in products:
            progress.update(task, description=product.product_id)
            path = folder / f"{product.product_id}_{product.model}{form.suffix}"
            count = export_polygons(store.read(product, Asset.POLYGONS), path, form)
            told = f"{path}  {count:,} polygons, {path.stat().st_size / 1e6:.1f} MB"
            console.print(told, highlight=False, soft_wrap=True)
            written.append(path)
            progress.advance(task)
    return written
