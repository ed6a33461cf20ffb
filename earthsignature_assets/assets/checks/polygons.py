"""Check of `land_cover_polygons`: one coverage with the area of the rasters."""

import numpy as np
import rasterio

from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.coverage import invalid_polygons
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet
from earthsignature_assets.products.product import Asset

_MOST_DIFFERENT_PERCENT = 0.5

SPECS = [
    check_spec(
        "coverage",
        "land_cover_polygons",
        f"Polygons have no overlaps and no gaps, and have the raster's area (within {_MOST_DIFFERENT_PERCENT} %).",
        blocking=True,
    )
]


def check_polygons(draft: Draft) -> list[Finding]:
    """Read the polygons of a draft back and compare them with its land-cover raster."""
    polygons = read_geoparquet(draft.path(Asset.POLYGONS))
    with rasterio.open(draft.path(Asset.LAND_COVER)) as raster:
        raster_m2 = float(np.count_nonzero(raster.read(1))) * draft.grid.pixel_area_m2
    invalid = len(invalid_polygons(polygons))
    area_m2 = float(polygons.areas_m2.sum())
    difference = 100 * abs(area_m2 / raster_m2 - 1) if raster_m2 else 100.0 * bool(area_m2)
    message = f"{len(polygons)} polygons, {invalid} of them with overlaps or gaps, area off by {difference:.3f} %"
    figures = {"polygons": len(polygons), "invalid_polygons": invalid, "area_difference_percent": round(difference, 4)}
    return [Finding("coverage", not invalid and difference <= _MOST_DIFFERENT_PERCENT, message, figures)]
