"""Which parts of a product a request wants: a raster cropped and coarser, polygons chosen and simplified."""

from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError

RESOLUTIONS_M = (10, 20, 30, 60, 90, 100, 180, 300, 600)
"""Pixel sizes that can be asked for: each divides a tile of 109.8 km, but for 100, whose last pixels are partial."""

MAX_TOLERANCE_M = 1_000.0
MAX_MIN_AREA_M2 = 1e10


@dataclass(frozen=True)
class RasterSelection:
    """What of a product's rasters is wanted.

    Attributes:
        area_wkb: an area in EPSG:4326, WKB: pixels that it does not touch are 0, and the raster ends around it. Empty
            for the whole.
        resolution_m: pixel size of the land cover; coarser pixels have the most frequent class of those they cover.
        cloud_mask: whether the cloud mask comes too; it stays at 20 m.
    """

    area_wkb: bytes = b""
    resolution_m: int = 10
    cloud_mask: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether the stored land cover is what is wanted."""
        return not self.area_wkb and self.resolution_m == RESOLUTIONS_M[0]

    @property
    def area(self) -> BaseGeometry | None:
        """The area, if there is one."""
        return shapely.from_wkb(self.area_wkb) if self.area_wkb else None


WHOLE_RASTER = RasterSelection()


def raster_selection(
    area: BaseGeometry | None, crop: bool | None, resolution_m: int | None, without_cloud_mask: bool | None
) -> RasterSelection:
    """The selection that the fields of a request make.

    Raises:
        QueryError: there is nothing to crop to, or the resolution is not offered.
    """
    if crop and area is None:
        raise QueryError("crop", "needs an area to crop to; give wkt, or leave crop out")
    resolution = resolution_m or RESOLUTIONS_M[0]
    if resolution not in RESOLUTIONS_M:
        raise QueryError(
            "resolution_m", f"{resolution} is not offered; give one of {', '.join(map(str, RESOLUTIONS_M))}"
        )
    wkb = shapely.to_wkb(area) if crop and area is not None else b""
    return RasterSelection(wkb, resolution, not without_cloud_mask)


@dataclass(frozen=True)
class PolygonSelection:
    """Which of a product's polygons are wanted, and how exact.

    Attributes:
        min_area_m2: polygons below are left out.
        tolerance_m: corners of borders whose triangle is at most this squared are left out; 0 keeps all.
        class_codes: CORINE level-3 codes of the polygons; empty for all.
    """

    min_area_m2: float = 0.0
    tolerance_m: float = 0.0
    class_codes: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for field, most in (("min_area_m2", MAX_MIN_AREA_M2), ("tolerance_m", MAX_TOLERANCE_M)):
            value = getattr(self, field)
            if not 0 <= value <= most:
                raise QueryError(field, f"{value} is outside 0…{most:g}")

    @property
    def is_whole(self) -> bool:
        """Whether the stored polygons are what is wanted."""
        return self == PolygonSelection()


ALL_POLYGONS = PolygonSelection()
