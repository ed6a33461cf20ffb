"""Land-cover polygons of one scene: sieved to a minimum mapping unit, traced, simplified as one coverage.

Neighbours share their borders vertex for vertex before and after simplification, so there are no gaps or overlaps.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from earthsignature_assets.errors import ProductError, UnknownClassError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.nomenclature import known_codes
from earthsignature_assets.products.polygons.boundaries import (
    Arcs,
    assemble_rings,
    ring_coordinates,
    signed_areas,
    trace_arcs,
)
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.polygons.regions import label_regions, mean_by_region, sieve_regions
from earthsignature_assets.products.polygons.simplification import simplify_arcs
from earthsignature_assets.system.settings import Settings

_AREA_TOLERANCE = 0.01

# A straight line of the projection is not straight in degrees. Over 500 m they differ by at most 2 cm in Europe, and
# simplified borders of neighbours are never that close.
_LONGEST_EDGE_M = 500.0


@dataclass(frozen=True)
class Generalisation:
    """Limits on the detail of polygons.

    Attributes:
        min_area_m2: the minimum mapping unit; smaller regions are merged into their largest neighbour.
        tolerance_m: corners of borders whose triangle is at most this squared are removed; 0 keeps all.

    Raises:
        ProductError: one of them is negative or NaN.
    """

    min_area_m2: float = 10_000 * Settings.min_area_ha
    tolerance_m: float = Settings.tolerance_m

    def __post_init__(self) -> None:
        for name in ("min_area_m2", "tolerance_m"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ProductError(f"{name} is {value}: give a number of at least 0")

    def min_pixels(self, grid: PixelGrid) -> int:
        """Compute the least number of pixels that make up the minimum mapping unit."""
        return math.ceil(self.min_area_m2 / grid.pixel_area_m2 - 1e-9)


@dataclass(frozen=True)
class GeneralisedArea:
    """Area of one class, in m²: in the raster, after the sieve, and inside the simplified polygons."""

    raster_m2: float
    sieved_m2: float
    drawn_m2: float

    @property
    def sieve_change(self) -> float:
        """Relative change of the class's area by the sieve; -1 if nothing is left."""
        return self.sieved_m2 / self.raster_m2 - 1

    @property
    def simplification_change(self) -> float:
        """Relative change of the class's sieved area by simplification."""
        return self.drawn_m2 / self.sieved_m2 - 1 if self.sieved_m2 else 0.0


@dataclass(frozen=True)
class LandCoverPolygons:
    """The polygons of a scene, and the changes of areas by generalisation.

    Attributes:
        layer: the polygons, in order of their first pixel.
        generalisation: the parameters.
        raw_count: number of regions in the raster before the sieve.
        class_areas: areas of every class in the raster, by code, including classes that the sieve removed.
        exact_codes: the classes whose borders were not simplified, because that would have changed their area by
            more than 1 %.
    """

    layer: PolygonLayer
    generalisation: Generalisation
    raw_count: int
    class_areas: dict[int, GeneralisedArea]
    exact_codes: frozenset[int]

    def facts(self) -> dict[str, Any]:
        """Return the parameters and the changes of areas as JSON values, for the metadata of the GeoParquet file."""
        return {
            "min_area_m2": self.generalisation.min_area_m2,
            "tolerance_m": self.generalisation.tolerance_m,
            "regions_before_sieve": self.raw_count,
            "classes": {str(code): asdict(area) for code, area in sorted(self.class_areas.items())},
            "exact_codes": sorted(self.exact_codes),
        }


def sieve(codes: npt.NDArray[np.uint16], grid: PixelGrid, min_area_m2: float) -> npt.NDArray[np.uint16]:
    """Sieve a raster as for its polygons, (height, width) uint16: see `sieve_regions`."""
    min_pixels = Generalisation(min_area_m2).min_pixels(grid)
    return sieve_regions(label_regions(codes), min_pixels).raster()


def land_cover_polygons(
    codes: npt.NDArray[np.uint16],
    confidence: npt.NDArray[np.uint8],
    grid: PixelGrid,
    product_id: str,
    model: ModelVersion,
    generalisation: Generalisation | None = None,
) -> LandCoverPolygons:
    """Vectorise a land-cover raster; no data yields no polygon.

    Args:
        codes: (height, width) uint16 CORINE level-3 codes, 0 = no data.
        confidence: (height, width) uint8 percent; used only at pixels with a class.
        grid: the grid of both.
        product_id: the Sentinel-2 product name.
        model: the model version of the raster.
        generalisation: minimum mapping unit and tolerance.

    Raises:
        ProductError: the rasters do not have the grid's shape.
        UnknownClassError: a code is none of the 44.
    """
    if codes.shape != grid.shape or confidence.shape != grid.shape:
        raise ProductError(
            f"{product_id}: codes {codes.shape} and confidence {confidence.shape} must have the grid's {grid.shape}"
        )
    generalisation = generalisation or Generalisation()
    borders = _borders(codes, confidence, generalisation.min_pixels(grid), product_id)
    arcs, count = borders.arcs, len(borders.codes)
    vertices, offsets, exact_codes = _simplified(borders, generalisation.tolerance_m / grid.resolution_m)
    areas = {
        code: GeneralisedArea(*(grid.pixel_area_m2 * pixels for pixels in of_class))
        for code, of_class in borders.pixels_by_class(signed_areas(vertices, offsets, arcs.sides, count)).items()
    }
    rings = assemble_rings(arcs, count)
    points, offsets = _geographic(vertices, offsets, grid)
    coordinates, ring_offsets = ring_coordinates(points, offsets, rings)
    layer = PolygonLayer(
        product_id=product_id,
        model=str(model),
        codes=borders.codes,
        areas_m2=(borders.pixels * grid.pixel_area_m2).astype(np.float64),
        mean_confidence=borders.mean_confidence.round(1).astype(np.float32),
        coordinates=coordinates,
        ring_offsets=ring_offsets,
        polygon_offsets=rings.region_offsets,
    )
    return LandCoverPolygons(layer, generalisation, borders.raw_count, areas, exact_codes)


@dataclass(frozen=True)
class _Borders:
    """The arcs and regions of a raster without its labels, which take half a gigabyte for a tile."""

    shape: tuple[int, int]
    codes: npt.NDArray[np.uint16]
    pixels: npt.NDArray[np.int64]
    mean_confidence: npt.NDArray[np.float64]
    arcs: Arcs
    raw_count: int
    raw_pixels: dict[int, int]

    def pixels_by_class(self, drawn: npt.NDArray[np.float64]) -> dict[int, tuple[float, float, float]]:
        """Return, for each class, its pixels in the raster, after the sieve, and in the `drawn` regions."""
        length = max(self.raw_pixels, default=0) + 1
        sieved = np.bincount(self.codes, self.pixels, minlength=length)
        left = np.bincount(self.codes, drawn, minlength=length)
        return {code: (float(raw), float(sieved[code]), float(left[code])) for code, raw in self.raw_pixels.items()}


def _borders(
    codes: npt.NDArray[np.uint16], confidence: npt.NDArray[np.uint8], min_pixels: int, product_id: str
) -> _Borders:
    raw = label_regions(codes)
    raw_pixels = raw.pixels_by_code()
    unknown = [code for code in raw_pixels if not known_codes()[code]]
    if unknown:
        raise UnknownClassError(f"{product_id}: land cover holds {unknown[:5]}, which are not CORINE level-3 codes")
    regions = sieve_regions(raw, min_pixels)
    return _Borders(
        shape=regions.shape,
        codes=regions.codes,
        pixels=regions.pixels,
        mean_confidence=mean_by_region(regions, confidence),
        arcs=trace_arcs(regions.labels),
        raw_count=len(raw.codes),
        raw_pixels=raw_pixels,
    )


def _simplified(
    borders: _Borders, tolerance_pixels: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], frozenset[int]]:
    """Simplify all borders at once; classes that would lose or gain more than 1 % keep the traced borders."""
    arcs, count = borders.arcs, len(borders.codes)
    wanted = np.bincount(borders.codes, borders.pixels)
    codes_of_sides = np.concatenate([np.zeros(1, np.uint16), borders.codes])[arcs.sides]
    exact = frozenset[int]()
    while True:
        frozen = np.asarray(np.isin(codes_of_sides, list(exact)).any(axis=1))
        vertices, offsets = simplify_arcs(arcs, borders.shape, tolerance_pixels, frozen)
        drawn = np.bincount(borders.codes, signed_areas(vertices, offsets, arcs.sides, count), minlength=len(wanted))
        changed = np.flatnonzero(np.abs(drawn - wanted) > _AREA_TOLERANCE * wanted)
        if not len(changed):
            return vertices, offsets, exact
        exact |= frozenset(changed.tolist())


def _geographic(
    vertices: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], grid: PixelGrid
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Project arcs to EPSG:4326 after adding vertices to long edges; an arc stays identical for both neighbours."""
    points, dense_offsets = _densify(vertices, offsets, _LONGEST_EDGE_M / grid.resolution_m)
    points *= (grid.resolution_m, -grid.resolution_m)
    points += (grid.left_m, grid.top_m)
    project = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    points[:, 0], points[:, 1] = project.transform(points[:, 0], points[:, 1])
    return points, dense_offsets


@numba.njit(cache=True, nogil=True)
def _densify(vertices, offsets, longest):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    dense_offsets = np.zeros_like(offsets)
    points = np.empty((0, 2), np.float64)
    for filling in range(2):
        size = 0
        if filling:
            points = np.empty((dense_offsets[-1], 2), np.float64)
        for arc in range(offsets.size - 1):
            for vertex in range(offsets[arc], offsets[arc + 1]):
                if vertex > offsets[arc]:
                    run = vertices[vertex, 0] - vertices[vertex - 1, 0]
                    rise = vertices[vertex, 1] - vertices[vertex - 1, 1]
                    parts = int(np.ceil(np.hypot(run, rise) / longest))
                    for part in range(1, parts):
                        if filling:
                            points[size, 0] = vertices[vertex - 1, 0] + run * part / parts
                            points[size, 1] = vertices[vertex - 1, 1] + rise * part / parts
                        size += 1
                if filling:
                    points[size, 0] = vertices[vertex, 0]
                    points[size, 1] = vertices[vertex, 1]
                size += 1
            dense_offsets[arc + 1] = size
    return points, dense_offsets
