"""Check on `land_cover_polygons`: one coverage, of the rasters' area."""

import geopandas as gpd
import numpy as np
import rasterio
import shapely

from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset

_MOST_DIFFERENT_PERCENT = 0.5

SPECS = [
    check_spec(
        "coverage",
        "land_cover_polygons",
        f"Polygons neither overlap nor part, and have the raster's area (within {_MOST_DIFFERENT_PERCENT} %).",
        blocking=True,
    )
]


def check_polygons(draft: Draft) -> list[Finding]:
    """Read the polygons of a draft back and compare them with its land-cover raster."""
    polygons = gpd.read_parquet(draft.path(Asset.POLYGONS), columns=["area_m2", "geometry"])
    with rasterio.open(draft.path(Asset.LAND_COVER)) as raster:
        raster_m2 = float(np.count_nonzero(raster.read(1))) * draft.grid.pixel_area_m2
    shapes = polygons.geometry.to_numpy()
    invalid = int(np.count_nonzero(~shapely.is_empty(shapely.coverage_invalid_edges(shapes))))
    area_m2 = float(polygons["area_m2"].sum())
    difference = 100 * abs(area_m2 / raster_m2 - 1) if raster_m2 else 100.0 * bool(area_m2)
    told = f"{len(polygons)} polygons, {invalid} of them overlap or part, area {difference:.3f} % off the raster's"
    figures = {"polygons": len(polygons), "invalid_polygons": invalid, "area_difference_percent": round(difference, 4)}
    return [Finding("coverage", not invalid and difference <= _MOST_DIFFERENT_PERCENT, told, figures)]
