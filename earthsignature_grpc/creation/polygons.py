"""The polygons of a version 2 request, and the raster that they draw."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from pyproj import Transformer
from rasterio.enums import MergeAlg

from earthsignature_assets.errors import QueryError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.nomenclature import known_codes
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_grpc.creation.facts import Facts

_NEST_M = 20.0  # the grids of land cover and cloud mask begin at the same corners
_ROUNDING_M = 1.0  # what coordinates of six decimals may stand out of their grid
_MOST_OVERLAP = 0.01


def checked_polygons(frame: Any, field: str) -> tuple[npt.NDArray[np.object_], dict[str, npt.NDArray[Any]]]:
    """The polygons in EPSG:4326, multipolygons taken apart, with `code` (uint16) and `confidence` (percent) of each.

    Raises:
        QueryError: one is invalid, or has no class or confidence that is one.
    """
    if "code" not in frame.columns or not len(frame):
        raise QueryError(field, "has no polygon with the property `code`, its CORINE level-3 class")
    wrong = [code for code in frame["code"].tolist() if type(code) is not int or not _is_class(code)]
    if wrong:
        raise QueryError(field, f"has polygons of class {wrong[:5]}; classes are CORINE level-3 codes, 111…523")
    stated = frame.get("mean_confidence", frame["code"] * 0.0).fillna(0.0).to_numpy(np.float64)
    if not ((stated >= 0) & (stated <= 100)).all():
        raise QueryError(field, "has a mean_confidence outside 0…100 percent")
    parts, owner = shapely.get_parts(frame.geometry.to_numpy(), return_index=True)
    invalid = np.flatnonzero(~shapely.is_valid(parts) | shapely.is_empty(parts))
    if len(invalid):
        reason = shapely.is_valid_reason(parts[invalid[0]])[:160]
        raise QueryError(field, f"feature {frame.index[owner[invalid[0]]]!r} is no valid polygon ({reason})")
    values = {"code": frame["code"].to_numpy(np.uint16)[owner], "confidence": stated[owner]}
    return shapely.orient_polygons(parts, exterior_cw=False), values


def _is_class(code: int) -> bool:
    return 0 < code < len(known_codes()) and bool(known_codes()[code])


def grid_around(polygons: npt.NDArray[np.object_], facts: Facts) -> tuple[PixelGrid, npt.NDArray[np.object_]]:
    """The part of the tile's grid around polygons in EPSG:4326, and the polygons in its metres.

    Raises:
        QueryError: they reach beyond the tile.
    """
    tile = tile_grid(facts.tile)
    project = Transformer.from_crs(4326, tile.epsg, always_xy=True)
    metres: npt.NDArray[np.object_] = shapely.transform(
        polygons, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1]))
    )
    west, south, east, north = shapely.total_bounds(metres).tolist()
    tile_west, tile_south, tile_east, tile_north = tile.bounds
    beyond = max(tile_west - west, tile_south - south, east - tile_east, north - tile_north)
    if not beyond <= tile.resolution_m:  # not finite is beyond as well
        raise QueryError(facts.field, f"has polygons outside tile {facts.tile}, which {facts.product_id} says it shows")
    left = tile_west + max(0, math.floor((west - tile_west + _ROUNDING_M) / _NEST_M)) * _NEST_M
    top = tile_north - max(0, math.floor((tile_north - north + _ROUNDING_M) / _NEST_M)) * _NEST_M
    columns = max(1, math.ceil((min(east, tile_east) - left - _ROUNDING_M) / _NEST_M))
    rows = max(1, math.ceil((top - max(south, tile_south) - _ROUNDING_M) / _NEST_M))
    nested = round(_NEST_M / tile.resolution_m)
    return PixelGrid(tile.epsg, left, top, tile.resolution_m, columns * nested, rows * nested), metres


def draw_codes(
    metres: npt.NDArray[np.object_], codes: npt.NDArray[np.uint16], grid: PixelGrid, field: str
) -> npt.NDArray[np.uint16]:
    """The polygons' codes as (height, width) uint16, 0 = no data.

    Raises:
        QueryError: polygons overlap, or all of a class are smaller than a pixel.
    """
    drawn: npt.NDArray[np.uint16] = draw(metres, codes, grid, np.uint16)
    times = rasterio.features.rasterize(
        metres, grid.shape, transform=grid.transform, merge_alg=MergeAlg.add, dtype=np.uint8
    )
    overlapping = np.count_nonzero(times > 1)
    if overlapping > _MOST_OVERLAP * np.count_nonzero(times):
        raise QueryError(field, f"has polygons that overlap on {overlapping} pixels; every place has one class")
    lost = sorted(set(np.unique(codes).tolist()) - set(np.unique(drawn).tolist()))
    if lost:
        raise QueryError(field, f"has classes whose polygons are smaller than a pixel of 10 m: {lost[:5]}")
    return drawn


def draw(metres: npt.NDArray[np.object_], values: npt.NDArray[Any], grid: PixelGrid, dtype: Any) -> Any:
    """A value of each polygon, rounded, as (height, width) of `dtype`; 0 where none is."""
    shapes = zip(metres, np.rint(values).astype(dtype).tolist(), strict=True)
    return rasterio.features.rasterize(shapes, grid.shape, transform=grid.transform, dtype=dtype)


def layer_of(
    polygons: npt.NDArray[np.object_],
    metres: npt.NDArray[np.object_],
    values: dict[str, npt.NDArray[Any]],
    facts: Facts,
) -> PolygonLayer:
    """The polygons as they were sent, with their areas in m²."""
    confidence = values["confidence"].round(1).astype(np.float32)
    return PolygonLayer.of_polygons(
        facts.product_id, str(facts.model), polygons, values["code"], shapely.area(metres), confidence
    )
