"""`earthsignature get`: products of a service as files."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from earthsignature_assets.cli.progress import download_bar
from earthsignature_assets.errors import (
    CredentialError,
    DownloadError,
    EarthSignatureError,
    QueryError,
    ServiceUnavailableError,
)
from earthsignature_assets.keys import parse_product_id
from earthsignature_grpc.client import EarthSignatureClient, ListFilters, PublishedProduct
from earthsignature_grpc.client import Progress as Received

FORMS = ("geotiff", "geoparquet", "geojson", "picture", "ids")

_PICTURE_HEIGHT = 1200
# These errors concern all products, not one.
_ENDS_ALL = (ServiceUnavailableError, CredentialError, QueryError, DownloadError)


def fetch_products(
    client: EarthSignatureClient, form: str, folder: Path, filters: ListFilters, limit: int | None, console: Console
) -> bool:
    """Download the matching products into a folder and print a line for each file; return whether all succeeded.

    Files appear whole or not at all. Complete files stay, interrupted downloads resume. A product that fails is
    reported and does not stop the others.

    Args:
        client: the service.
        form: one of `FORMS`.
        folder: folder of the files, created if absent.
        filters: filters of the products.
        limit: maximum number of products, the newest.
        console: console for progress and reports, separate from standard output.

    Raises:
        EarthSignatureError: the service refuses a filter or does not answer, or no file can be written to the folder.
    """
    found = failed = 0
    with download_bar(console) as show:
        for product in client.products(**filters, page_size=min(limit, 100) if limit else 0):
            found += 1
            try:
                for line in _fetch(client, product, form, folder, show):
                    click.echo(line)
            except _ENDS_ALL:
                raise
            except EarthSignatureError as error:
                failed += 1
                console.print(f"{product.product_id}: {error}", style="red", highlight=False, markup=False)
            if found == limit:
                break
    if not found:
        console.print("No product matches.", highlight=False)
    if failed:
        console.print(f"{failed} of {found} products failed.", style="red", highlight=False)
    return not failed


def _fetch(
    client: EarthSignatureClient, product: PublishedProduct, form: str, folder: Path, show: Callable[[Received], None]
) -> Iterator[str]:
    if form == "ids":
        yield f"{product.product_id}  {product.model}  {product.sensed_at.date()}  {product.footprint.wkt}"
        return
    # The name comes over the wire: only a Sentinel-2 product name becomes a path.
    name = parse_product_id(product.product_id)

    def download(asset: str, path: Path) -> Path:
        return client.download(product.product_id, asset, path, model=product.model, on_progress=show)

    if form == "geotiff":
        # QGIS reads the style of the classes from the .qml file next to the raster.
        for asset, ending in (
            ("land_cover", "land_cover.tif"),
            ("style", "land_cover.qml"),
            ("cloud_mask", "cloud_mask.tif"),
        ):
            yield _described(download(asset, folder / f"{name}_{ending}"))
    elif form == "geoparquet":
        yield _described(download("polygons", folder / f"{name}.parquet"))
    elif form == "geojson":
        with _written_whole(folder / f"{name}.geojson") as (path, workspace):
            _write_geojson(download("polygons", workspace / "polygons.parquet"), path)
        yield _described(folder / f"{name}.geojson")
    else:
        with _written_whole(folder / f"{name}.png") as (path, workspace):
            _write_picture(download("land_cover", workspace / "land_cover.tif"), path, product)
        yield _described(folder / f"{name}.png")


def _write_geojson(polygons: Path, path: Path) -> None:
    import geopandas as gpd

    gpd.read_parquet(polygons).to_file(path, driver="GeoJSON", engine="pyogrio")


def _write_picture(land_cover: Path, path: Path, product: PublishedProduct) -> None:
    """Draw the classes in their official colours, with a legend of the present ones, the largest first."""
    import numpy as np
    import rasterio

    from earthsignature_assets import pictures

    with rasterio.open(land_cover) as raster:
        shrink = max(1.0, raster.height / _PICTURE_HEIGHT)
        # This reads the overviews, which pick classes and never mix them.
        codes = raster.read(1, out_shape=(round(raster.height / shrink), round(raster.width / shrink)))
    present, pixels = np.unique(codes[codes != 0], return_counts=True)
    legend = present[np.argsort(pixels)[::-1]].tolist()
    tile = product.scene.rpartition("_T")[2]
    panel = pictures.Panel(f"{product.cloud_cover_percent:.0f} % under cloud", pictures.land_cover(codes))
    title = f"Land cover of tile {tile} on {product.sensed_at.date()}, by {product.model}"
    path.write_bytes(pictures.png(pictures.side_by_side([panel], legend, title, panel_height=codes.shape[0])))


@contextmanager
def _written_whole(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a file that is renamed to `path` at the end, and a folder for intermediate files."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".earthsignature-") as workspace:
            yield Path(workspace) / path.name, Path(workspace)
            os.replace(Path(workspace) / path.name, path)  # noqa: PTH105 - replaces an existing file
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {error.strerror or error}") from error


def _described(path: Path) -> str:
    return f"{path}  {path.stat().st_size / 1e6:.1f} MB"
