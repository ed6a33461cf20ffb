"""The polygons of one product as flat arrays, without an object for each polygon."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import shapely

from earthsignature_assets.nomenclature import class_of

if TYPE_CHECKING:
    import geopandas as gpd


# Chunks that fit the processor's cache, on two threads, take 0.4 of the time of a single call.
_AT_ONCE = 16_384
_THREADS = 2


def shapely_polygons(
    coordinates: npt.NDArray[np.float64 | np.int32],
    ring_offsets: npt.NDArray[np.int64],
    polygon_offsets: npt.NDArray[np.int64],
) -> npt.NDArray[np.object_]:
    """Build polygons as shapely objects, (n,), from flat arrays.

    Args:
        coordinates: (v, 2) of all rings, each closed.
        ring_offsets: (r + 1,) into the coordinates.
        polygon_offsets: (n + 1,) into the rings; the outer ring is first.
    """
    polygons = np.empty(len(polygon_offsets) - 1, np.object_)

    def make(first: int) -> None:
        chosen = polygon_offsets[first : first + _AT_ONCE + 1]
        rings = ring_offsets[chosen[0] : chosen[-1] + 1]
        polygons[first : first + _AT_ONCE] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            coordinates[rings[0] : rings[-1]].astype(np.float64, copy=False),
            (rings - rings[0], chosen - chosen[0]),
        )

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(make, range(0, len(polygons), _AT_ONCE)))
    return polygons


@dataclass(frozen=True)
class PolygonLayer:
    """n polygons in EPSG:4326, outer rings counter-clockwise, every ring closed.

    Attributes:
        product_id: the Sentinel-2 product name that all share.
        model: the model version that all share, such as `corine-unet-v1`.
        codes: (n,) uint16, CORINE level-3.
        areas_m2: (n,) float64, of the pixels in the sieved raster, in the tile's projection.
        mean_confidence: (n,) float32, percent, to one decimal.
        coordinates: (v, 2) float64, longitude and latitude.
        ring_offsets: (r + 1,) int64 into the coordinates.
        polygon_offsets: (n + 1,) int64 into the rings; the outer ring is first.
    """

    product_id: str
    model: str
    codes: npt.NDArray[np.uint16]
    areas_m2: npt.NDArray[np.float64]
    mean_confidence: npt.NDArray[np.float32]
    coordinates: npt.NDArray[np.float64]
    ring_offsets: npt.NDArray[np.int64]
    polygon_offsets: npt.NDArray[np.int64]

    @classmethod
    def of_polygons(
        cls,
        product_id: str,
        model: str,
        polygons: npt.NDArray[np.object_],
        codes: npt.NDArray[np.uint16],
        areas_m2: npt.NDArray[np.float64],
        mean_confidence: npt.NDArray[np.float32],
    ) -> Self:
        """Build the layer of shapely polygons, (n,), already in EPSG:4326 and oriented."""
        _, coordinates, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
        return cls(
            product_id=product_id,
            model=model,
            codes=codes,
            areas_m2=areas_m2,
            mean_confidence=mean_confidence,
            coordinates=coordinates,
            ring_offsets=np.asarray(ring_offsets, np.int64),
            polygon_offsets=np.asarray(polygon_offsets, np.int64),
        )

    @classmethod
    def joined(cls, product_id: str, model: str, parts: Sequence[Self]) -> Self:
        """Concatenate several layers."""

        def offsets(all_offsets: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
            return _offsets(*(np.diff(part) for part in all_offsets))

        return cls(
            product_id=product_id,
            model=model,
            codes=np.concatenate([np.empty(0, np.uint16), *(part.codes for part in parts)]),
            areas_m2=np.concatenate([np.empty(0), *(part.areas_m2 for part in parts)]),
            mean_confidence=np.concatenate([np.empty(0, np.float32), *(part.mean_confidence for part in parts)]),
            coordinates=np.concatenate([np.empty((0, 2)), *(part.coordinates for part in parts)]),
            ring_offsets=offsets([part.ring_offsets for part in parts]),
            polygon_offsets=offsets([part.polygon_offsets for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.codes)

    def class_areas(self) -> dict[int, float]:
        """Sum the stated areas of the polygons of each class present, in m² by code."""
        areas = np.bincount(self.codes, self.areas_m2)
        return {code: float(areas[code]) for code in np.unique(self.codes).tolist()}

    def chosen(self, keep: npt.NDArray[np.bool_]) -> Self:
        """Select the polygons where `keep`, (n,) bool, holds, in the same order."""
        if keep.all():
            return self
        ring_counts, vertex_counts = np.diff(self.polygon_offsets), np.diff(self.ring_offsets)
        ring_kept = np.repeat(keep, ring_counts)
        return replace(
            self,
            codes=self.codes[keep],
            areas_m2=self.areas_m2[keep],
            mean_confidence=self.mean_confidence[keep],
            coordinates=self.coordinates[np.repeat(ring_kept, vertex_counts)],
            ring_offsets=_offsets(vertex_counts[ring_kept]),
            polygon_offsets=_offsets(ring_counts[keep]),
        )

    def geometries(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.object_]:
        """Return the polygons from `first` up to `last` as shapely objects."""
        chosen = self.polygon_offsets[first : (len(self) if last is None else last) + 1]
        return shapely_polygons(self.coordinates, self.ring_offsets, chosen)

    def bounds(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.float64]:
        """Compute west, south, east and north of the polygons from `first` up to `last`: (n, 4) float64."""
        starts = self.ring_offsets[self.polygon_offsets[first : (len(self) if last is None else last) + 1]]
        inside = self.coordinates[starts[0] : starts[-1]]
        bounds = np.empty((len(starts) - 1, 4))
        if len(bounds):
            bounds[:, :2] = np.minimum.reduceat(inside, starts[:-1] - starts[0])
            bounds[:, 2:] = np.maximum.reduceat(inside, starts[:-1] - starts[0])
        return bounds

    @cached_property
    def frame(self) -> "gpd.GeoDataFrame":
        """Return a frame with one row for each polygon and the columns of the GeoParquet file."""
        import geopandas as gpd

        names = {int(code): class_of(int(code)).name for code in np.unique(self.codes)}
        return gpd.GeoDataFrame(
            {
                "code": self.codes,
                "name": [names[code] for code in self.codes.tolist()],
                "level_1": (self.codes // 100).astype(np.uint8),
                "level_2": (self.codes // 10).astype(np.uint8),
                "area_m2": self.areas_m2,
                "mean_confidence": self.mean_confidence,
                "product_id": [self.product_id] * len(self),
                "model": [self.model] * len(self),
            },
            geometry=self.geometries(),
            crs=4326,
        )


def _offsets(*counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Compute the start of each run, and the end, from the lengths of the runs."""
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
