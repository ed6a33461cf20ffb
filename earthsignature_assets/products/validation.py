"""What must be true of a draft's files before readers may see them."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow
import rasterio
import shapely
from PIL import Image
from rasterio.errors import RasterioError

from earthsignature_assets.errors import ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.nomenclature import NO_DATA, known_codes
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.geobuf import encode_feature_collection
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.raster import CLOUD_RESOLUTION_M, CONFIDENCE_NO_DATA, class_areas

_COLUMNS = ("code", "name", "level_1", "level_2", "area_m2", "mean_confidence", "product_id", "model")


def validate_files(draft: Draft, folder: Path) -> dict[int, float]:
    """Read every file of a draft, in `folder`, to its last byte; returns the area in m² of each class.

    Raises:
        ProductError: a file is missing or damaged, is on another grid, holds unknown codes, or contradicts another;
            the message names product and file.
    """
    for asset in Asset:
        if asset is not Asset.ITEM and not (folder / asset.value).is_file():
            raise ProductError(f"{draft.product_id}: {asset.value} is missing")
    areas_m2 = _check_rasters(draft, folder)
    _check_polygons(draft, folder, frozenset(areas_m2))
    try:
        with Image.open(folder / Asset.THUMBNAIL.value) as picture:
            picture.load()
    except OSError as error:
        raise ProductError(f"{draft.product_id}: {Asset.THUMBNAIL.value} cannot be read: {error}") from error
    return areas_m2


def _check_rasters(draft: Draft, folder: Path) -> dict[int, float]:
    codes = _read_raster(draft, folder, Asset.LAND_COVER, draft.grid, np.dtype(np.uint16), NO_DATA)
    areas_m2 = class_areas(codes, draft.grid)
    unknown = [code for code in areas_m2 if not known_codes()[code]]
    if unknown:
        raise ProductError(
            f"{draft.product_id}: {Asset.LAND_COVER.value} holds {unknown[:5]}, which are no CORINE level-3 codes"
        )
    confidence = _read_raster(draft, folder, Asset.CONFIDENCE, draft.grid, np.dtype(np.uint8), CONFIDENCE_NO_DATA)
    if not np.array_equal(confidence != CONFIDENCE_NO_DATA, codes != NO_DATA):
        raise ProductError(f"{draft.product_id}: {Asset.CONFIDENCE.value} has no data elsewhere than the land cover")
    if ((confidence > 100) & (confidence != CONFIDENCE_NO_DATA)).any():
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
        with rasterio.open(folder / asset.value, driver="GTiff") as raster:
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
        raise ProductError(f"{draft.product_id}: {asset.value} is damaged or no GeoTIFF: {error}") from error


def _check_polygons(draft: Draft, folder: Path, codes: frozenset[int]) -> None:
    name = f"{draft.product_id}: {Asset.POLYGONS.value}"
    try:
        polygons = gpd.read_parquet(folder / Asset.POLYGONS.value)
    except (OSError, ValueError, pyarrow.ArrowException, shapely.errors.ShapelyError) as error:
        raise ProductError(f"{name} is damaged or no GeoParquet: {error}") from error
    missing = [column for column in _COLUMNS if column not in polygons.columns]
    if missing or polygons.crs != "EPSG:4326":
        raise ProductError(f"{name} lacks the columns {missing} or is not in EPSG:4326 ({polygons.crs})")
    strange = set(polygons["code"].tolist()) - codes
    if strange:
        raise ProductError(f"{name} holds classes that the land cover does not: {sorted(strange)[:5]}")
    if set(polygons["product_id"]) - {draft.product_id} or set(polygons["model"]) - {str(draft.model)}:
        raise ProductError(f"{name} is of another product or model than {draft.product_id}, {draft.model}")
    if codes and polygons.empty:
        raise ProductError(f"{name} is empty, the land cover is not")
    invalid = int((~shapely.is_valid(polygons.geometry.to_numpy())).sum())
    if invalid:
        raise ProductError(f"{name} holds {invalid} invalid polygons")
    if (folder / Asset.GEOBUF.value).read_bytes() != encode_feature_collection(polygons):
        raise ProductError(f"{draft.product_id}: {Asset.GEOBUF.value} does not hold the polygons of {name}")
