"""The GeoTIFFs of a version 1 request, whose headers cannot be trusted."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

from earthsignature_assets.errors import QueryError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.nomenclature import NO_DATA, known_codes
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M
from earthsignature_grpc.creation.facts import Facts


def read_land_cover(content: bytes, facts: Facts) -> tuple[npt.NDArray[np.uint16], PixelGrid]:
    """Read CORINE level-3 codes, (height, width) uint16, 0 = no data, and their grid, a part of the tile's.

    Raises:
        QueryError: the bytes are not a GeoTIFF of such codes, or it is off the tile's grid.
    """
    tile = tile_grid(facts.tile)
    with _opened(content, "segmentation", "uint16") as raster:
        grid = _grid_of(raster, "segmentation", 10.0)
        if grid.epsg != tile.epsg:
            raise QueryError("segmentation", f"is in EPSG:{grid.epsg}; tile {facts.tile} is in EPSG:{tile.epsg}")
        columns, rows = (grid.left_m - tile.left_m) / 10.0, (tile.top_m - grid.top_m) / 10.0
        inside = 0 <= columns <= tile.width - grid.width and 0 <= rows <= tile.height - grid.height
        if not inside or columns % 2 or rows % 2:
            raise QueryError(
                "segmentation",
                f"has its corner at {grid.left_m:.0f} {grid.top_m:.0f} and {grid.width}×{grid.height} pixels, off "
                f"the grid of tile {facts.tile}: corner {tile.left_m:.0f} {tile.top_m:.0f}, steps of 20 m, at "
                f"most {tile.width}×{tile.height} pixels",
            )
        codes: npt.NDArray[np.uint16] = _pixels(raster, "segmentation")
    present = np.unique(codes)
    unknown = [
        int(code) for code in present[present != NO_DATA] if code >= len(known_codes()) or not known_codes()[code]
    ]
    if unknown:
        raise QueryError("segmentation", f"holds {unknown[:5]}; give CORINE level-3 codes only (111…523, 0 = no data)")
    return codes, grid


def read_cloud_mask(content: bytes, grid: PixelGrid) -> npt.NDArray[np.bool_]:
    """Read the cloud mask, bool at 20 m, True under cloud, on the grid that covers the land cover's.

    Raises:
        QueryError: the bytes are not a GeoTIFF of 0 and 1, or it is on another grid.
    """
    expected = grid.at_resolution(CLOUD_RESOLUTION_M)
    with _opened(content, "cloud_mask", "uint8") as raster:
        found = _grid_of(raster, "cloud_mask", CLOUD_RESOLUTION_M)
        if found != expected:
            raise QueryError(
                "cloud_mask",
                f"is not on the grid of the segmentation: EPSG:{found.epsg}, corner {found.left_m:g} "
                f"{found.top_m:g}, {found.width}×{found.height}; expected EPSG:{expected.epsg}, {expected.left_m:g} "
                f"{expected.top_m:g}, {expected.width}×{expected.height}",
            )
        pixels = _pixels(raster, "cloud_mask")
    if pixels.max(initial=0) > 1:
        raise QueryError("cloud_mask", "holds values other than 0 (clear) and 1 (cloud)")
    return np.asarray(pixels, bool)


@contextlib.contextmanager
def _opened(content: bytes, field: str, dtype: str) -> Iterator[DatasetReader]:
    """Open a GeoTIFF of one band, no larger than a tile by its header; nothing is decoded yet."""
    if not content:
        raise QueryError(field, "is missing; send a GeoTIFF")
    try:
        with MemoryFile(content) as file, file.open(driver="GTiff") as raster:
            if raster.count != 1 or raster.dtypes[0] != dtype:
                raise QueryError(field, f"has {raster.count} bands of {raster.dtypes[0]}; send one of {dtype}")
            most = tile_grid("31TCJ")
            block = raster.block_shapes[0]
            if max(*raster.shape, *block) > most.width:
                raise QueryError(
                    field,
                    f"has {raster.width}×{raster.height} pixels in blocks of {block}; send at most {most.width}, as a "
                    "tile has",
                )
            yield raster
    except RasterioError as error:
        raise QueryError(field, f"is damaged or not a GeoTIFF: {str(error)[:200]}") from error


def _grid_of(raster: DatasetReader, field: str, resolution_m: float) -> PixelGrid:
    transform = raster.transform
    epsg = raster.crs.to_epsg() if raster.crs else None
    if epsg is None or (transform.a, transform.b, transform.d, transform.e) != (resolution_m, 0, 0, -resolution_m):
        raise QueryError(
            field,
            f"is not georeferenced north-up at {resolution_m:g} m in a UTM zone (EPSG:{epsg}, {tuple(transform)[:6]})",
        )
    return PixelGrid(epsg, transform.c, transform.f, resolution_m, raster.width, raster.height)


def _pixels(raster: DatasetReader, field: str) -> Any:
    try:
        return raster.read(1)
    except RasterioError as error:
        raise QueryError(field, f"does not hold the pixels that its header declares: {str(error)[:200]}") from error
