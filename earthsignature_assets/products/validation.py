"""Validation of a draft's files before publication."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
import rasterio
import shapely
from PIL import Image
from rasterio.errors import RasterioError

from earthsignature_assets.errors import ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.nomenclature import NO_DATA, known_codes
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import ProductAreas, asset_checksums
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, CONFIDENCE_NO_DATA, Asset
from earthsignature_assets.products.rasters.cog import class_areas
from earthsignature_assets.products.rasters.qgis_style import qgis_style
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE
from earthsignature_assets.system.heap import return_free_memory

_POLYGONS_AT_ONCE = 16_384
_ROWS_AT_ONCE = 1024


def validate_files(draft: Draft, folder: Path) -> ProductAreas:
    """Validate all files of a draft, in `folder`, to the last byte; return the area of each class.

    Raises:
        ProductError: a file is missing or damaged, is on another grid, has unknown codes, or contradicts another;
            the message names the product and the file.
    """
    for asset in Asset:
        if asset is not Asset.ITEM and not (folder / asset.value).is_file():
            raise ProductError(f"{draft.product_id}: {asset.value} is missing")
    raster_m2 = _check_rasters(draft, folder)
    return_free_memory()
    if (folder / Asset.STYLE.value).read_bytes() != qgis_style():
        raise ProductError(f"{draft.product_id}: {Asset.STYLE.value} is not the style of the 44 classes")
    polygons_m2 = _check_polygons(draft, folder, frozenset(raster_m2))
    try:
        with Image.open(folder / Asset.THUMBNAIL.value) as picture:
            picture.load()
    except OSError as error:
        raise ProductError(f"{draft.product_id}: {Asset.THUMBNAIL.value} cannot be read: {error}") from error
    return ProductAreas(raster_m2, polygons_m2)


def validate_item(item: dict[str, Any]) -> None:
    """Check a product's item against STAC's core schema, and that it lists every file.

    Raises:
        ProductError: the item is not valid STAC, or a file is not among its assets.
    """
    name = item.get("id", "the item")
    # pystac has only the core schema; those of the extensions are online.
    core = {**item, "stac_extensions": []}
    try:
        pystac.Item.from_dict(core).validate()
        listed = asset_checksums(item)
    except (pystac.STACError, KeyError, TypeError, ValueError) as error:
        raise ProductError(f"{name}: {Asset.ITEM.value} is not valid STAC: {error}") from error
    if absent := sorted(asset.value for asset in Asset if asset is not Asset.ITEM and asset not in listed):
        raise ProductError(f"{name}: {Asset.ITEM.value} lacks {', '.join(absent)}")


def _check_rasters(draft: Draft, folder: Path) -> dict[int, float]:
    codes = _read_raster(draft, folder, Asset.LAND_COVER, draft.grid, np.dtype(np.uint16), NO_DATA)
    areas_m2 = class_areas(codes, draft.grid)
    unknown = [code for code in areas_m2 if not known_codes()[code]]
    if unknown:
        raise ProductError(
            f"{draft.product_id}: {Asset.LAND_COVER.value} holds {unknown[:5]}, which are not CORINE level-3 codes"
        )
    confidence = _read_raster(draft, folder, Asset.CONFIDENCE, draft.grid, np.dtype(np.uint8), CONFIDENCE_NO_DATA)
    for first in range(0, len(codes), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        valid = confidence[rows] != CONFIDENCE_NO_DATA
        if not np.array_equal(valid, codes[rows] != NO_DATA):
            raise ProductError(
                f"{draft.product_id}: {Asset.CONFIDENCE.value} has no data at other pixels than the land cover"
            )
        if confidence[rows].max(where=valid, initial=0) > 100:
            raise ProductError(f"{draft.product_id}: {Asset.CONFIDENCE.value} holds values above 100 percent")
    coarse = draft.grid.at_resolution(CLOUD_RESOLUTION_M)
    cloud = _read_raster(draft, folder, Asset.CLOUD_MASK, coarse, np.dtype(np.uint8), None)
    if cloud.max(initial=0) > 1:
        raise ProductError(f"{draft.product_id}: {Asset.CLOUD_MASK.value} holds other values than 0 and 1")
    return areas_m2


def _read_raster(
    draft: Draft, folder: Path, asset: Asset, grid: PixelGrid, dtype: np.dtype[np.generic], no_data: int | None
) -> npt.NDArray[Any]:
    try:
        with (
            BLOCK_CACHE.held(),
            rasterio.open(folder / asset.value, driver="GTiff", NUM_THREADS=2) as raster,
        ):
            found = {
                "bands": raster.count,
                "type": raster.dtypes[0],
                "CRS": raster.crs,
                "shape": raster.shape,
                "transform": tuple(raster.transform)[:6],
                "no data": raster.nodata,
            }
            expected = {
                "bands": 1,
                "type": dtype.name,
                "CRS": rasterio.CRS.from_epsg(grid.epsg),
                "shape": grid.shape,
                "transform": tuple(grid.transform)[:6],
                "no data": no_data,
            }
            for fact, value in expected.items():
                if found[fact] != value:
                    raise ProductError(
                        f"{draft.product_id}: {asset.value} is off its grid: {fact} is {found[fact]}, expected {value}"
                    )
            values: npt.NDArray[Any] = raster.read(1)
            return values
    except RasterioError as error:
        raise ProductError(f"{draft.product_id}: {asset.value} is damaged or not a GeoTIFF: {error}") from error


def _check_polygons(draft: Draft, folder: Path, codes: frozenset[int]) -> dict[int, float]:
    name = f"{draft.product_id}: {Asset.POLYGONS.value}"
    try:
        layer = read_geoparquet(folder / Asset.POLYGONS.value)
    except ProductError as error:
        raise ProductError(f"{draft.product_id}: {error}") from error
    strange = set(np.unique(layer.codes).tolist()) - codes
    if strange:
        raise ProductError(f"{name} holds classes that the land cover does not: {sorted(strange)[:5]}")
    if codes and not len(layer):
        raise ProductError(f"{name} is empty, the land cover is not")
    if len(layer) and (layer.product_id, layer.model) != (draft.product_id, str(draft.model)):
        raise ProductError(f"{name} is of another product or model than {draft.product_id}, {draft.model}")
    invalid = _count_invalid(layer)
    if invalid:
        raise ProductError(f"{name} holds {invalid} invalid polygons")
    if (folder / Asset.GEOBUF.value).read_bytes() != encode_feature_collection(layer):
        raise ProductError(f"{draft.product_id}: {Asset.GEOBUF.value} does not hold the polygons of {name}")
    return layer.class_areas()


def _count_invalid(layer: PolygonLayer) -> int:
    """Count the invalid polygons in chunks: the objects of a whole tile take half a gigabyte."""

    def count(first: int) -> int:
        return int((~shapely.is_valid(layer.geometries(first, min(first + _POLYGONS_AT_ONCE, len(layer))))).sum())

    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(count, range(0, len(layer), _POLYGONS_AT_ONCE)))
