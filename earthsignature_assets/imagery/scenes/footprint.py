"""Polygons on the globe: cut where they cross the antimeridian, as RFC 7946 asks of GeoJSON."""

import antimeridian
from shapely import union_all
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry


def cut_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """Cut polygons (EPSG:4326) where they cross ±180°: rings that jump there, and longitudes beyond.

    A ring wider than 180° counts as one that jumps. A geometry that does not cross is returned unchanged.
    """
    parts = []
    for part in polygons_of(geometry):
        west, _, east, _ = part.bounds
        crosses = west < -180 or east > 180 or east - west > 180
        # `fix_winding` turns clockwise rings, which otherwise mean the rest of the globe; Sentinel-2's sides are
        # straight in degrees, not great circles.
        parts.extend(
            polygons_of(antimeridian.fix_polygon(part, fix_winding=True, great_circle=False)) if crosses else [part]
        )
    if not parts:
        return geometry
    return parts[0] if len(parts) == 1 else union_all(parts)


def polygons_of(geometry: BaseGeometry) -> list[Polygon]:
    """Return the polygons of a geometry; other members are left out."""
    if isinstance(geometry, Polygon):
        return [geometry]
    return [part for member in getattr(geometry, "geoms", ()) for part in polygons_of(member)]
