"""Crops and coarser versions of a product's rasters, as GeoTIFFs with the same classes, names and colours."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.nomenclature import NO_DATA
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M
from earthsignature_assets.products.rasters.cog import write_cloud_mask, write_land_cover
from earthsignature_grpc.reading.selections import RasterSelection

_NEST_M = 20.0  # land cover and cloud mask are cropped to the same corners


def select_land_cover(content: bytes, selection: RasterSelection) -> bytes:
    """Cut the selection out of a land-cover GeoTIFF, as a GeoTIFF with the same classes, names and colours.

    Raises:
        ProductError: the stored file cannot be read.
    """
    try:
        with MemoryFile(content) as file, file.open(driver="GTiff") as raster:
            window = _window(raster, selection.area)
            resolution = float(selection.resolution_m)
            grid = _grid(raster, window, resolution)
            with WarpedVRT(
                raster,
                crs=raster.crs,
                transform=grid.transform,
                width=grid.width,
                height=grid.height,
                resampling=Resampling.mode if resolution > raster.res[0] else Resampling.nearest,
                warp_mem_limit=64,
            ) as coarse:
                codes: npt.NDArray[np.uint16] = coarse.read(1)
    except RasterioError as error:
        raise ProductError(f"the land cover cannot be read: {error}") from error
    codes[_outside(selection.area, grid)] = NO_DATA
    return _written("land_cover.tif", lambda path: write_land_cover(path, codes, grid))


def select_cloud_mask(content: bytes, selection: RasterSelection) -> bytes:
    """Cut the cloud mask to the land cover of `select_land_cover`, at 20 m.

    Raises:
        ProductError: the stored file cannot be read.
    """
    if selection.area is None:
        return content
    try:
        with MemoryFile(content) as file, file.open(driver="GTiff") as raster:
            window = _window(raster, selection.area)
            cloud: npt.NDArray[np.bool_] = raster.read(1, window=window).astype(bool)
            grid = _grid(raster, window, CLOUD_RESOLUTION_M)
    except RasterioError as error:
        raise ProductError(f"the cloud mask cannot be read: {error}") from error
    cloud[_outside(selection.area, grid)] = False
    return _written(
        "cloud_mask.tif", lambda path: write_cloud_mask(path, cloud, grid.at_resolution(CLOUD_RESOLUTION_M / 2))
    )


def _window(raster: DatasetReader, area: BaseGeometry | None) -> Window:
    """Find the pixels around an area, in whole steps of 20 m, with at least one step inside the raster."""
    if area is None:
        return Window(0, 0, raster.width, raster.height)
    left, top = raster.bounds.left, raster.bounds.top
    west, south, east, north = _projected(area, raster.crs.to_epsg()).bounds
    step = round(_NEST_M / raster.res[0])

    def inside(low: float, high: float, size: int) -> tuple[int, int]:
        steps = -(-size // step)
        first = min(max(0, math.floor(low / _NEST_M)), steps - 1)
        last = min(max(first + 1, math.ceil(high / _NEST_M)), steps)
        return first * step, min(last * step, size) - first * step

    column, width = inside(west - left, east - left, raster.width)
    row, height = inside(top - north, top - south, raster.height)
    return Window(column, row, width, height)


def _grid(raster: DatasetReader, window: Window, resolution_m: float) -> PixelGrid:
    """Lay a grid over a window, in whole pixels of this resolution from the raster's corner."""
    left, _, _, top = raster.bounds
    size = raster.res[0]

    def whole(offset: int, length: int) -> tuple[int, int]:
        first = math.floor(offset * size / resolution_m)
        return first, math.ceil((offset + length) * size / resolution_m) - first

    (column, width), (row, height) = whole(window.col_off, window.width), whole(window.row_off, window.height)
    epsg = raster.crs.to_epsg()
    return PixelGrid(epsg, left + column * resolution_m, top - row * resolution_m, resolution_m, width, height)


def _outside(area: BaseGeometry | None, grid: PixelGrid) -> Any:
    """Mark the pixels that an area does not touch, (height, width) bool."""
    if area is None:
        return np.zeros(grid.shape, bool)
    return geometry_mask([_projected(area, grid.epsg)], grid.shape, grid.transform, all_touched=True)


def _projected(area: BaseGeometry, epsg: int) -> BaseGeometry:
    """Project an area from EPSG:4326 to the metres of a UTM zone; parts far from the zone are cut off."""
    project = Transformer.from_crs(4326, epsg, always_xy=True)
    middle = (epsg % 100) * 6 - 183
    # The projection is only valid near the zone. That is enough around a tile, which lies at most 3 degrees off the
    # central meridian at the equator, and further towards the poles.
    near = shapely.make_valid(shapely.clip_by_rect(area, middle - 40, -84, middle + 40, 84))
    dense = shapely.segmentize(near, 0.05)
    return shapely.transform(dense, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1])))


def _written(name: str, write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="earthsignature-select-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()
