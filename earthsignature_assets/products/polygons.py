"""Land-cover polygons of one scene: sieved to a minimum mapping unit, traced, simplified as one coverage.

Neighbours share their borders vertex for vertex before and after simplification, so they neither gap nor overlap.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from pyproj import Transformer

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.nomenclature import NO_DATA, class_of
from earthsignature_assets.products.boundaries import Rings, label_regions, mean_by_region, trace_rings

MINIMUM_MAPPING_UNIT_M2 = 2_500.0
"""Regions below a quarter of a hectare go to their largest neighbour."""

_SIMPLIFICATION_PIXELS = 1.0
_AREA_TOLERANCE = 0.01
_LONGEST_EDGE_M = 1_000.0
_SNAP_PER_M = 1024.0

Geometries = npt.NDArray[np.object_]


@dataclass(frozen=True)
class LandCoverPolygons:
    """The polygons of a scene, and what making them did to the areas.

    Attributes:
        frame: one row a polygon in EPSG:4326, Polygon, outer rings counter-clockwise, with the columns `code`
            (uint16), `name`, `level_1`, `level_2` (uint8), `area_m2` (float64, its pixels in the sieved raster,
            in the tile's projection), `mean_confidence` (float32, percent), `product_id`, `model`.
        sieved: the raster that was traced, (height, width) uint16.
        exact_codes: the classes whose borders were left as traced, because simplifying them would have changed
            their area by more than 1 %.
    """

    frame: gpd.GeoDataFrame
    sieved: npt.NDArray[np.uint16]
    exact_codes: frozenset[int]


def sieve(codes: npt.NDArray[np.uint16], grid: PixelGrid, min_area_m2: float) -> npt.NDArray[np.uint16]:
    """Give regions below `min_area_m2` to their largest neighbour, (height, width) uint16.

    No data stays exactly where it is. A region whose neighbours are all below the unit as well, or no data, is
    left as it is (GDAL's sieve).
    """
    pixels = math.ceil(min_area_m2 / grid.pixel_area_m2 - 1e-9)
    if pixels <= 1:
        return codes
    sieved: npt.NDArray[np.uint16] = rasterio.features.sieve(codes, pixels, mask=codes != NO_DATA, connectivity=4)
    sieved[codes == NO_DATA] = NO_DATA
    return sieved


def land_cover_polygons(
    codes: npt.NDArray[np.uint16],
    confidence: npt.NDArray[np.uint8],
    grid: PixelGrid,
    product_id: str,
    model: ModelVersion,
    min_area_m2: float = MINIMUM_MAPPING_UNIT_M2,
) -> LandCoverPolygons:
    """Vectorise a land-cover raster; no data makes no polygon.

    Args:
        codes: (height, width) uint16 CORINE level-3 codes, 0 = no data.
        confidence: (height, width) uint8 percent; read only where a class is.
        grid: the grid of both.
        product_id: the Sentinel-2 product name.
        model: the version that made the raster.
        min_area_m2: the minimum mapping unit.

    Raises:
        ProductError: the rasters are not of the grid's shape.
        UnknownClassError: a code is none of the 44.
    """
    if codes.shape != grid.shape or confidence.shape != grid.shape:
        raise ProductError(
            f"{product_id}: codes {codes.shape} and confidence {confidence.shape} must have the grid's {grid.shape}"
        )
    sieved = sieve(codes, grid, min_area_m2)
    regions = label_regions(sieved)
    areas_m2 = (regions.pixels * grid.pixel_area_m2).astype(np.float64)
    traced = _traced(trace_rings(regions), grid)
    simplified, exact_codes = _simplified(traced, regions.codes, areas_m2, grid.resolution_m * _SIMPLIFICATION_PIXELS)
    classes = {int(code): class_of(int(code)) for code in np.unique(regions.codes)}
    region_codes = [int(code) for code in regions.codes]
    frame = gpd.GeoDataFrame(
        {
            "code": regions.codes,
            "name": [classes[code].name for code in region_codes],
            "level_1": (regions.codes // 100).astype(np.uint8),
            "level_2": (regions.codes // 10).astype(np.uint8),
            "area_m2": areas_m2,
            "mean_confidence": mean_by_region(regions, confidence).round(1).astype(np.float32),
            "product_id": [product_id] * len(region_codes),
            "model": [str(model)] * len(region_codes),
        },
        geometry=_geographic(simplified, grid),
        crs=4326,
    )
    return LandCoverPolygons(frame, sieved, exact_codes)


def write_geoparquet(polygons: gpd.GeoDataFrame, path: Path) -> None:
    """Write polygons as GeoParquet 1.1 with a bbox covering, zstd; the same polygons give the same bytes.

    Raises:
        StoreUnavailableError: the file cannot be written.
    """
    try:
        polygons.to_parquet(path, compression="zstd", schema_version="1.1.0", write_covering_bbox=True, index=False)
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be written: {error}") from error


def _traced(rings: Rings, grid: PixelGrid) -> Geometries:
    metres = rings.vertices * (grid.resolution_m, -grid.resolution_m) + (grid.left_m, grid.top_m)
    polygons: Geometries = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, metres, (rings.ring_offsets, rings.region_offsets)
    )
    return polygons


def _simplified(
    traced: Geometries, codes: npt.NDArray[np.uint16], areas_m2: npt.NDArray[np.float64], tolerance_m: float
) -> tuple[Geometries, frozenset[int]]:
    """Simplify all borders at once; classes that would lose or gain more than 1 % keep theirs as traced.

    Leaving such a class out of the coverage and pinning the coverage's outer edge keeps its borders where they
    are in its neighbours as well.
    """
    wanted = np.bincount(codes, areas_m2)
    exact = frozenset[int]()
    while True:
        free = ~np.isin(codes, list(exact))
        simplified = traced.copy()
        simplified[free] = shapely.coverage_simplify(traced[free], tolerance_m, simplify_boundary=not exact)
        kept = np.bincount(codes, shapely.area(simplified), minlength=len(wanted))
        changed = np.flatnonzero(np.abs(kept - wanted) > _AREA_TOLERANCE * wanted)
        if not len(changed):
            return simplified, exact
        exact |= frozenset(changed.tolist())


def _geographic(polygons: Geometries, grid: PixelGrid) -> Geometries:
    """Reproject to EPSG:4326; neighbours stay identical along their borders.

    A straight line of the projection is no straight line in degrees (200 m apart in the middle of 100 km), so long
    edges first get vertices. Both neighbours must get the same ones whichever way they run along the edge: snapping
    to 1/1024 m sees to that, since the points divide an edge between pixel corners into at most 110 parts and so
    never lie near the middle between two steps.
    """
    dense = shapely.segmentize(polygons, _LONGEST_EDGE_M)
    metres = np.round(shapely.get_coordinates(dense) * _SNAP_PER_M) / _SNAP_PER_M
    project = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    longitude, latitude = project.transform(metres[:, 0], metres[:, 1])
    return shapely.set_coordinates(dense, np.column_stack([longitude, latitude]))
