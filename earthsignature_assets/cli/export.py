"""`earthsignature export`: polygons of published products as files for other programs."""

import datetime as dt
from pathlib import Path

import click
from rich.console import Console

from earthsignature_assets.cli.options import DAY, deployment_options, store_of
from earthsignature_assets.cli.progress import progress_bar
from earthsignature_assets.errors import QueryError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion, parse_product_id, parse_tile
from earthsignature_assets.system.settings import Settings

# The command imports what it needs when it runs: `--help` answers at once.

_DAY = dt.timedelta(days=1) - dt.timedelta(microseconds=1)


@click.command()
@click.argument("products", nargs=-1)
@click.option("--tile", help="Every product of an MGRS tile, such as 32TQM.")
@click.option("--start", type=DAY, help="First day of acquisition (UTC).")
@click.option("--end", type=DAY, help="Last day of acquisition (UTC).")
@click.option("--all", "everything", is_flag=True, help="Every product.")
@click.option("--model", help="Model version; by default the current one of each product.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["flatgeobuf", "geopackage", "pmtiles", "geojson", "geoparquet"]),
    default="geopackage",
    show_default=True,
    help="Format of the files. PMTiles have zoom 8 to 13 and take minutes for a dense tile.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the files; by default the current one. Files of the same name are replaced.",
)
@deployment_options
def export(
    settings: Settings,
    products: tuple[str, ...],
    tile: str | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    everything: bool,
    model: str | None,
    form: str,
    folder: Path,
) -> None:
    """Write the polygons of published PRODUCTS (Sentinel-2 names) for other programs, one file each.

    \b
    earthsignature export --tile 32TQM --as flatgeobuf --to maps
    earthsignature export S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516
    """  # noqa: D301 - click's mark for lines that stay as they are
    from earthsignature_assets.products.catalogue.query import ProductQuery
    from earthsignature_assets.products.polygons.polygon_export import ExportFormat, export_polygons
    from earthsignature_assets.products.product import Asset

    store, console, target = store_of(settings), Console(), ExportFormat[form.upper()]
    if not (products or tile or start or end or everything):
        raise QueryError("product", "none is chosen: name products, give --tile, --start or --end, or --all")
    wanted = frozenset(parse_product_id(name) for name in products)
    tile = parse_tile(tile) if tile else None
    query = ProductQuery(
        start=start.replace(tzinfo=dt.UTC) if start else None,
        end=end.replace(tzinfo=dt.UTC) + _DAY if end else None,
        product_ids=wanted or None,
        model=ModelVersion.parse(model) if model else None,
    )
    with store.open_catalogue(read_only=True) as catalogue:
        found = [product for product in catalogue.search(query) if tile in (None, product.scene.tile)]
    if absent := wanted - {product.product_id for product in found}:
        raise QueryError("product", f"{store} has none of that choice with the name {', '.join(sorted(absent))}")
    if not found:
        raise QueryError("product", f"{store} has none that matches; `earthsignature missing` lists what can be made")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
    with progress_bar(console, "Exporting") as progress:
        for done, product in enumerate(found, 1):
            path = folder / f"{product.product_id}_{product.model}{target.suffix}"
            count = export_polygons(store.read(product, Asset.POLYGONS), path, target)
            line = f"{path}  {count:,} polygons, {path.stat().st_size / 1e6:.1f} MB"
            console.print(line, highlight=False, soft_wrap=True)
            progress(done, len(found))
