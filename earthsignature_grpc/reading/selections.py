"""Selections of a product: rasters cropped and coarsened, polygons filtered and simplified."""

from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError

RESOLUTIONS_M = (10, 20, 30, 60, 90, 100, 180, 300, 600)
"""Pixel sizes on offer: each divides a tile of 109.8 km except 100, whose last pixels are partial."""

MAX_TOLERANCE_M = 1_000.0
MAX_MIN_AREA_M2 = 1e10


@dataclass(frozen=True)
class RasterSelection:
    """A selection of a product's rasters.

    Attributes:
        area_wkb: WKB of the area to crop to, in EPSG:4326; pixels that it does not touch are 0. Empty for the whole
            raster.
        resolution_m: pixel size of the land cover; a coarser pixel gets the most frequent class of those it covers.
        cloud_mask: whether to include the cloud mask, always at 20 m.
    """

    area_wkb: bytes = b""
    resolution_m: int = 10
    cloud_mask: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether the stored land cover needs no change."""
        return not self.area_wkb and self.resolution_m == RESOLUTIONS_M[0]

    @property
    def area(self) -> BaseGeometry | None:
        """The area to crop to, if any."""
        return shapely.from_wkb(self.area_wkb) if self.area_wkb else None


WHOLE_RASTER = RasterSelection()


def raster_selection(
    area: BaseGeometry | None, crop: bool | None, resolution_m: int | None, without_cloud_mask: bool | None
) -> RasterSelection:
    """Build the selection from the fields of a request.

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
    """A selection of a product's polygons, and their simplification.

    Attributes:
        min_area_m2: smaller polygons are left out.
        tolerance_m: border corners whose triangle is at most this value squared, in m², are left out; 0 keeps all.
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
        """Whether the stored polygons need no change."""
        return self == PolygonSelection()


ALL_POLYGONS = PolygonSelection()
