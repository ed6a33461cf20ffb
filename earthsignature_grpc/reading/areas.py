"""The area of a request: WKT in EPSG:4326, checked before and after parsing.

The checks before parsing bound the time that a hostile text can take; the parser itself runs in linear time.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError

MAX_WKT_BYTES = 1 << 19
MAX_VERTICES = 10_000
# A MULTIPOLYGON within two levels of GEOMETRYCOLLECTION nests five deep. The parser recurses, so the depth is bounded.
MAX_DEPTH = 16
_FEW, _SAMPLE = 500, 32
_MOST_OVER_EACH_OTHER = 0.1  # at most one in a thousand for the edges of coasts and countries
_FIELD = "wkt"
_POLYGON = "POLYGON "
_BRACKETS = re.compile(r"[()]")


def parse_area(wkt: str) -> BaseGeometry:
    """Parse an area: POLYGON, MULTIPOLYGON, or a GEOMETRYCOLLECTION of these. Heights are dropped.

    Parts may overlap each other. Each part must be a valid polygon: repairing one with a few hundred random vertices
    takes minutes (measured with GEOS 3.14), so repair is left to the caller.

    Returns:
        A Polygon, MultiPolygon or GeometryCollection of polygons, 2-D, EPSG:4326.

    Raises:
        QueryError: the text is oversized, unparsable, empty, without area, not finite, outside longitude ±180 or
            latitude ±90, or a part crosses itself.
    """
    _check_text(wkt)
    try:
        with np.errstate(all="ignore"):  # overflowing coordinates are refused below
            geometry = shapely.from_wkt(wkt)
    except (shapely.errors.GEOSException, ValueError, NotImplementedError) as error:
        raise QueryError(
            _FIELD,
            f"is not WKT ({_shortened(str(error))}); give, for example, POLYGON ((14 46, 15 46, 15 47, 14 47, 14 46))",
        ) from error
    found = [part for part in _parts(geometry) if not part.is_empty]
    _refuse_heap(shapely.bounds(found), "parts")
    parts = [_checked(part) for part in found]
    if not parts:
        raise QueryError(_FIELD, "is an empty geometry; give an area, or leave wkt out to search everywhere")
    if len(parts) == 1:
        return parts[0]
    together = shapely.MultiPolygon(parts)
    # Overlapping parts are not a valid MultiPolygon, but GEOS treats a collection of them as their union.
    return together if together.is_valid else shapely.GeometryCollection(parts)


def _check_text(wkt: str) -> None:
    if len(wkt) > MAX_WKT_BYTES:
        raise QueryError(_FIELD, f"is {len(wkt)} characters long, {MAX_WKT_BYTES} are allowed; simplify the area")
    if "\0" in wkt:
        raise QueryError(_FIELD, "holds a NUL character, where the parser would stop; send plain text")
    vertices = wkt.count(",") + 1
    if vertices > MAX_VERTICES:
        raise QueryError(_FIELD, f"has about {vertices} vertices, {MAX_VERTICES} are allowed; simplify the area")
    if max(wkt.count("("), wkt.count(")")) > MAX_VERTICES:
        raise QueryError(_FIELD, f"has more than {MAX_VERTICES} brackets; simplify the area")
    depth = 0
    for bracket in _BRACKETS.finditer(wkt):
        depth += 1 if bracket[0] == "(" else -1
        if depth > MAX_DEPTH:
            raise QueryError(_FIELD, f"nests more than {MAX_DEPTH} brackets; flatten the collection")


def _parts(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    if isinstance(geometry, shapely.MultiPolygon | shapely.GeometryCollection):
        for member in geometry.geoms:
            yield from _parts(member)
    else:
        yield geometry


def _checked(part: BaseGeometry) -> shapely.Polygon:
    if not isinstance(part, shapely.Polygon):
        raise QueryError(_FIELD, f"holds a {part.geom_type}, which has no area; give polygons, or buffer it")
    coordinates = shapely.get_coordinates(part)
    if not np.isfinite(coordinates).all():
        raise QueryError(_FIELD, "holds a coordinate that is not finite; give longitude and latitude in degrees")
    beyond = (np.abs(coordinates) > (180.0, 90.0)).any(axis=1)
    if beyond.any():
        x, y = coordinates[beyond][0]
        raise QueryError(
            _FIELD,
            f"({x:g} {y:g}) is outside longitude ±180, latitude ±90; give EPSG:4326 degrees, longitude first",
        )
    _refuse_heap(
        np.hstack([np.minimum(coordinates[1:], coordinates[:-1]), np.maximum(coordinates[1:], coordinates[:-1])]),
        "edges",
    )
    if not part.is_valid:
        raise QueryError(
            _FIELD,
            f"is not a valid polygon ({_shortened(shapely.is_valid_reason(part))}); repair it, for example with "
            "shapely.make_valid",
        )
    if part.area == 0:
        raise QueryError(_FIELD, "holds a polygon without area; give at least three different corners")
    return shapely.force_2d(part)


def _refuse_heap(boxes: npt.NDArray[np.float64], what: str) -> None:
    """Refuse edges or parts that pile up on each other: checking these takes time quadratic in their number.

    Args:
        boxes: west, south, east, north of each, (n, 4); a sample of them is compared with all.
        what: `edges` or `parts`, for the message.
    """
    if len(boxes) < _FEW:
        return
    sample = boxes[:: len(boxes) // _SAMPLE]
    apart = (sample[:, None, :2] > boxes[None, :, 2:]) | (boxes[None, :, :2] > sample[:, None, 2:])
    over_each_other = 1 - apart.any(axis=2).mean()
    if over_each_other > _MOST_OVER_EACH_OTHER:
        raise QueryError(
            _FIELD,
            f"has {len(boxes)} {what}, each of which overlaps {over_each_other:.0%} of the others on average; simplify "
            "the area, for example with shapely.union_all and simplify",
        )


def _shortened(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."


def format_footprint(footprint: BaseGeometry) -> str:
    """Format a footprint as the service has published it since 2022: MULTIPOLYGON, sixteen decimals."""
    return format_footprints([footprint])[0]


def format_footprints(footprints: Sequence[BaseGeometry]) -> list[str]:
    """Format many footprints like `format_footprint`, in half the time of one by one."""
    texts: list[str] = shapely.to_wkt(footprints, rounding_precision=16, trim=False, output_dimension=2).tolist()
    return [f"MULTIPOLYGON ({text.removeprefix(_POLYGON)})" if text.startswith(_POLYGON) else text for text in texts]
