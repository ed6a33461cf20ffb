"""The commands on the archive of published products: export, verify, sweep, catalogue."""

import datetime as dt
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from earthsignature_assets.cli.options import DAY, home_option, reported, settings_of, store_of

# What a command needs is imported when it runs: `--help` answers at once.


@click.command()
@home_option
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
    help="Folder for the files; by default the current one. What has the same name is replaced.",
)
@reported
def export(home: Path, products: tuple[str, ...], form: str, folder: Path, **choice: Any) -> None:
    """Write the polygons of published PRODUCTS (Sentinel-2 names) for other programs, a file each.

    \b
    earthsignature export --tile 32TQM --as flatgeobuf --to maps
    earthsignature export S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516
    """  # noqa: D301 - click's mark for lines that stay as they are
    from earthsignature_assets.cli.export import export_products
    from earthsignature_assets.products.polygons.polygon_export import ExportFormat

    export_products(store_of(home), ExportFormat[form.upper()], folder, Console(), names=products, **choice)


@click.command()
@home_option
@reported
def verify(home: Path) -> None:
    """Re-check every checksum and code of every product; name what is damaged."""
    from earthsignature_assets.cli import archive

    archive.verify_store(store_of(home), Console())


@click.command()
@home_option
@click.option(
    "--older-than", "hours", type=click.FloatRange(0), default=24.0, show_default=True, help="Hours of grace."
)
@reported
def sweep(home: Path, hours: float) -> None:
    """Remove superseded content and what stopped publications left."""
    from earthsignature_assets.cli import archive

    archive.sweep_store(store_of(home), dt.timedelta(hours=hours), Console())


@click.group()
def catalogue() -> None:
    """The catalogue of the published products: rebuild it, export it."""


@catalogue.command("rebuild")
@home_option
@reported
def rebuild_catalogue(home: Path) -> None:
    """Make the catalogue say what the store holds, from the products' items alone."""
    from earthsignature_assets.cli import archive

    archive.rebuild_catalogue(store_of(home), Console())


@catalogue.command("export")
@home_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", help="Model version; by default the current one of each scene.")
@reported
def export_catalogue(home: Path, folder: Path, model: str | None) -> None:
    """Write a static STAC catalogue, with stac-geoparquet, into FOLDER."""
    from earthsignature_assets.cli import archive
    from earthsignature_assets.keys import ModelVersion

    archive.export_catalogue(store_of(home), folder, ModelVersion.parse(model) if model else None, Console())


@catalogue.command("tell-dagster")
@home_option
@reported
def tell_dagster(home: Path) -> None:
    """Tell a new Dagster database of the working window's products, so that they are not made again."""
    from earthsignature_assets.cli import history

    history.tell_dagster(settings_of(home), dt.datetime.now(dt.UTC).date(), Console())
