"""The rasters of a product: cloud-optimised GeoTIFFs on the tile's own UTM grid, the same bytes for the same pixels.

Class names and official colours are in the land-cover file as band metadata, one entry for each code
(`112 = Discontinuous urban fabric #ff0000`), which `gdalinfo` shows, and next to it in a style, which QGIS applies by
itself. docs/decisions/0005-land-cover-raster.md explains why there is no palette.
"""

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # raised by `copy`; rasterio has no public name for it
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster

from earthsignature_assets.errors import ProductError, UnknownClassError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.nomenclature import CLASSES, NO_DATA, known_codes
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, CONFIDENCE_NO_DATA, Asset
from earthsignature_assets.products.rasters.qgis_style import qgis_style
from earthsignature_assets.products.rasters.shared_blocks import share_alike_blocks
from earthsignature_assets.system.atomic import write_whole
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE
from earthsignature_assets.system.heap import return_free_memory

_COG = {"driver": "COG", "BLOCKSIZE": "512", "BIGTIFF": "NO", "NUM_THREADS": "2"}


class Codec(StrEnum):
    """Compression of a product's pixels.

    Every TIFF reader of 2022 reads DEFLATE, and the first API serves the file unchanged. ZSTD is for archives whose
    clients are all newer: a quarter smaller, at thirty times the processor time.
    """

    DEFLATE = "deflate"
    ZSTD = "zstd"


# DEFLATE at level 9 is a tenth smaller than at 6 and takes seven times as long; ZSTD below 19 is larger than DEFLATE.
# Confidence is nearly noise: level 3 is 1 % larger than 6, in 40 % of its time.
_LEVELS = {Codec.DEFLATE: "6", Codec.ZSTD: "19"}
_LEVELS_OF_NOISE = {Codec.DEFLATE: "3", Codec.ZSTD: "9"}

_ROWS_AT_ONCE = 512


def write_rasters(
    draft: Draft,
    codes: npt.NDArray[np.uint16],
    confidence: npt.NDArray[np.uint8],
    cloud: npt.NDArray[np.bool_],
    codec: Codec = Codec.DEFLATE,
) -> None:
    """Write the three rasters of a draft and the style, two at a time.

    Args:
        draft: the draft; its folder must exist.
        codes: (height, width) uint16 CORINE level-3 codes, 0 = no data.
        confidence: (height, width) uint8 percent; used only at pixels with a class.
        cloud: bool at 10 or 20 m, true where the class is not reliable.
        codec: the compression.
    """
    with ThreadPoolExecutor(2) as threads:
        writing = [
            threads.submit(write_land_cover, draft.path(Asset.LAND_COVER), codes, draft.grid, codec),
            threads.submit(
                write_confidence, draft.path(Asset.CONFIDENCE), confidence, codes != NO_DATA, draft.grid, codec
            ),
            threads.submit(write_cloud_mask, draft.path(Asset.CLOUD_MASK), cloud, draft.grid, codec),
        ]
    for written in writing:
        written.result()
    return_free_memory()


def write_land_cover(path: Path, codes: npt.NDArray[np.uint16], grid: PixelGrid, codec: Codec = Codec.DEFLATE) -> None:
    """Write CORINE level-3 codes, (height, width) uint16, 0 = no data; overviews take the most frequent class.

    The style for QGIS is written next to it, with the suffix `.qml`.

    Raises:
        ProductError: the raster does not have the grid's shape, or is not uint16.
        UnknownClassError: a code is none of the 44.
        StoreUnavailableError: the file cannot be written.
    """
    _check(codes, grid, np.dtype(np.uint16), "land cover")
    unknown = [code for code in class_areas(codes, grid) if not known_codes()[code]]
    if unknown:
        raise UnknownClassError(f"land cover holds {unknown[:5]}, which are not CORINE level-3 codes")
    names = {str(entry.code): f"{entry.name} {entry.hex_colour}" for entry in CLASSES}
    options = {"OVERVIEW_RESAMPLING": "MODE"}
    _write(path, codes, grid, NO_DATA, "CORINE Land Cover, level-3 code", names, codec, options)
    write_whole(path.with_suffix(".qml"), qgis_style())


def write_confidence(
    path: Path,
    percent: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    grid: PixelGrid,
    codec: Codec = Codec.DEFLATE,
) -> None:
    """Write the model's confidence, (height, width) uint8 percent; where `valid` is false, 255 = no data.

    Raises:
        ProductError: a raster has the wrong shape or dtype, or a confidence is above 100.
        StoreUnavailableError: the file cannot be written.
    """
    _check(percent, grid, np.dtype(np.uint8), "confidence")
    _check(valid, grid, np.dtype(bool), "validity")
    if percent.max(where=valid, initial=0) > 100:
        raise ProductError("confidence holds values above 100 percent at pixels with a class")
    written = np.where(valid, percent, np.uint8(CONFIDENCE_NO_DATA))
    options = {"OVERVIEW_RESAMPLING": "AVERAGE", "PREDICTOR": "YES", "LEVEL": _LEVELS_OF_NOISE[codec]}
    _write(path, written, grid, CONFIDENCE_NO_DATA, "Confidence of the class, percent", {}, codec, options)


def write_cloud_mask(path: Path, cloud: npt.NDArray[np.bool_], grid: PixelGrid, codec: Codec = Codec.DEFLATE) -> None:
    """Write the cloud mask, where the class is not reliable, as uint8 at 20 m: 1 = cloud, 0 = clear.

    Args:
        path: the file.
        cloud: bool, (height, width) at 10 m or at 20 m; at 10 m a 20 m pixel is cloud if any part of it is.
        grid: the 10 m grid of the land cover.
        codec: the compression.

    Raises:
        ProductError: the mask has neither shape.
        StoreUnavailableError: the file cannot be written.
    """
    coarse = grid.at_resolution(CLOUD_RESOLUTION_M)
    if cloud.shape == grid.shape != coarse.shape:
        rows, columns = coarse.shape
        padded = np.zeros((rows * 2, columns * 2), bool)
        padded[: grid.height, : grid.width] = cloud
        cloud = np.asarray(padded.reshape(rows, 2, columns, 2).any(axis=(1, 3)))
    _check(cloud, coarse, np.dtype(bool), "cloud mask")
    names = {"0": "clear", "1": "cloud: the class is not reliable"}
    _write(path, cloud.astype(np.uint8), coarse, None, "Cloud mask", names, codec, {"OVERVIEW_RESAMPLING": "NEAREST"})


def class_areas(codes: npt.NDArray[np.uint16], grid: PixelGrid) -> dict[int, float]:
    """Compute the area in m² of every class present in (height, width) uint16 codes, without no data."""
    # In chunks: counting converts its input to int64, a gigabyte for a whole tile.
    pixels = np.zeros(np.iinfo(codes.dtype).max + 1, np.int64)
    for first in range(0, len(codes), _ROWS_AT_ONCE):
        pixels += np.bincount(codes[first : first + _ROWS_AT_ONCE].ravel(), minlength=len(pixels))
    pixels[NO_DATA] = 0
    return {int(code): float(pixels[code] * grid.pixel_area_m2) for code in np.flatnonzero(pixels)}


def _check(raster: npt.NDArray[np.generic], grid: PixelGrid, dtype: np.dtype[np.generic], name: str) -> None:
    if raster.shape != grid.shape or raster.dtype != dtype:
        raise ProductError(
            f"{name} is {raster.dtype} {raster.shape}, expected {dtype} {grid.shape} "
            f"(rows, columns at {grid.resolution_m:g} m)"
        )


def _write(
    path: Path,
    raster: npt.NDArray[np.generic],
    grid: PixelGrid,
    no_data: int | None,
    description: str,
    names: dict[str, str],
    codec: Codec,
    options: dict[str, str],
) -> None:
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": raster.dtype.name,
        "crs": rasterio.CRS.from_epsg(grid.epsg),
        "transform": grid.transform,
        "nodata": no_data,
        # Lightly compressed: otherwise the raster would be in memory twice.
        "tiled": True,
        "compress": "zstd",
        "zstd_level": 1,
        "num_threads": 2,
    }
    # In memory first: GDAL does not report every full disk, and identical blocks are shared.
    try:
        with BLOCK_CACHE.held(), MemoryFile() as pixels, MemoryFile() as file:
            with pixels.open(**profile) as dataset:
                dataset.write(raster, 1)
                dataset.set_band_description(1, description)
                dataset.update_tags(1, **names)
            compression = {"COMPRESS": codec.name, "LEVEL": _LEVELS[codec]}
            copy_raster(pixels.name, file.name, **_COG | compression | options)
            content = share_alike_blocks(file.read())
    except (RasterioError, CPLE_BaseError) as error:
        raise ProductError(f"{path.name} cannot be made: {error}") from error
    write_whole(path, content)
