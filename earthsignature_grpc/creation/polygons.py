"""The polygons of a version 2 request, and the raster drawn from them."""

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

_NEST_M = 20.0  # the grids of land cover and cloud mask share their corners
_ROUNDING_M = 1.0  # rounding to six decimals may move coordinates off the grid by this much
_MOST_OVERLAP = 0.01


def checked_polygons(frame: Any, field: str) -> tuple[npt.NDArray[np.object_], dict[str, npt.NDArray[Any]]]:
    """Check polygons in EPSG:4326 and split multipolygons.

    Returns:
        The polygons, and the `code` (uint16) and `confidence` (percent) of each.

    Raises:
        QueryError: a polygon, class or confidence is invalid.
    """
    if "code" not in frame.columns or not len(frame):
        raise QueryError(field, "has no polygon with the property `code`; set it to the CORINE level-3 class")
    wrong = [code for code in frame["code"].tolist() if type(code) is not int or not _is_class(code)]
    if wrong:
        raise QueryError(field, f"has polygons of class {wrong[:5]}; give CORINE level-3 codes, 111…523")
    stated = frame.get("mean_confidence", frame["code"] * 0.0).fillna(0.0).to_numpy(np.float64)
    if not ((stated >= 0) & (stated <= 100)).all():
        raise QueryError(field, "has a mean_confidence outside 0…100; give a percentage")
    parts, owner = shapely.get_parts(frame.geometry.to_numpy(), return_index=True)
    invalid = np.flatnonzero(~shapely.is_valid(parts) | shapely.is_empty(parts))
    if len(invalid):
        reason = shapely.is_valid_reason(parts[invalid[0]])[:160]
        raise QueryError(
            field, f"feature {frame.index[owner[invalid[0]]]!r} is not a valid polygon ({reason}); repair it"
        )
    values = {"code": frame["code"].to_numpy(np.uint16)[owner], "confidence": stated[owner]}
    return shapely.orient_polygons(parts, exterior_cw=False), values


def _is_class(code: int) -> bool:
    return 0 < code < len(known_codes()) and bool(known_codes()[code])


def grid_around(polygons: npt.NDArray[np.object_], facts: Facts) -> tuple[PixelGrid, npt.NDArray[np.object_]]:
    """Find the part of the tile's grid around polygons in EPSG:4326, and project the polygons to its metres.

    Raises:
        QueryError: the polygons reach beyond the tile.
    """
    tile = tile_grid(facts.tile)
    project = Transformer.from_crs(4326, tile.epsg, always_xy=True)
    metres: npt.NDArray[np.object_] = shapely.transform(
        polygons, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1]))
    )
    west, south, east, north = shapely.total_bounds(metres).tolist()
    tile_west, tile_south, tile_east, tile_north = tile.bounds
    beyond = max(tile_west - west, tile_south - south, east - tile_east, north - tile_north)
    if not beyond <= tile.resolution_m:  # so written, it also refuses coordinates that are not finite
        raise QueryError(facts.field, f"has polygons outside tile {facts.tile}, the tile of {facts.product_id}")
    left = tile_west + max(0, math.floor((west - tile_west + _ROUNDING_M) / _NEST_M)) * _NEST_M
    top = tile_north - max(0, math.floor((tile_north - north + _ROUNDING_M) / _NEST_M)) * _NEST_M
    columns = max(1, math.ceil((min(east, tile_east) - left - _ROUNDING_M) / _NEST_M))
    rows = max(1, math.ceil((top - max(south, tile_south) - _ROUNDING_M) / _NEST_M))
    nested = round(_NEST_M / tile.resolution_m)
    return PixelGrid(tile.epsg, left, top, tile.resolution_m, columns * nested, rows * nested), metres


def draw_codes(
    metres: npt.NDArray[np.object_], codes: npt.NDArray[np.uint16], grid: PixelGrid, field: str
) -> npt.NDArray[np.uint16]:
    """Rasterise the polygons' codes as (height, width) uint16, 0 = no data.

    Raises:
        QueryError: polygons overlap, or all polygons of a class are smaller than a pixel.
    """
    drawn: npt.NDArray[np.uint16] = draw(metres, codes, grid, np.uint16)
    times = rasterio.features.rasterize(
        metres, grid.shape, transform=grid.transform, merge_alg=MergeAlg.add, dtype=np.uint8
    )
    overlapping = np.count_nonzero(times > 1)
    if overlapping > _MOST_OVERLAP * np.count_nonzero(times):
        raise QueryError(field, f"has polygons that overlap on {overlapping} pixels; give every place one class")
    lost = sorted(set(np.unique(codes).tolist()) - set(np.unique(drawn).tolist()))
    if lost:
        raise QueryError(field, f"has only polygons smaller than a pixel of 10 m in classes {lost[:5]}; drop them")
    return drawn


def draw(metres: npt.NDArray[np.object_], values: npt.NDArray[Any], grid: PixelGrid, dtype: Any) -> Any:
    """Rasterise a value of each polygon, rounded, as (height, width) of `dtype`; 0 outside the polygons."""
    shapes = zip(metres, np.rint(values).astype(dtype).tolist(), strict=True)
    return rasterio.features.rasterize(shapes, grid.shape, transform=grid.transform, dtype=dtype)


def layer_of(
    polygons: npt.NDArray[np.object_],
    metres: npt.NDArray[np.object_],
    values: dict[str, npt.NDArray[Any]],
    facts: Facts,
) -> PolygonLayer:
    """Make the polygon layer of the request's polygons, with their areas in m²."""
    confidence = values["confidence"].round(1).astype(np.float32)
    return PolygonLayer.of_polygons(
        facts.product_id, str(facts.model), polygons, values["code"], shapely.area(metres), confidence
    )
