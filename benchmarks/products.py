"""Products: from a class raster to polygons."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_RASTER_SIDE = 2048
_FEWEST_POLYGONS = 15_000
_POLYGONS_FASTER = 8
_SHAPES = "rasterio.features.shapes"


def _raster_path(options: Options) -> Path:
    return options.folder / "classes.npy"


def _prepare(options: Options) -> None:
    """19,257 regions of eight classes: a dense tile has about 16,000 on as many pixels."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    shape = (_RASTER_SIDE, _RASTER_SIDE)
    codes = (112, 121, 211, 231, 311, 312, 321, 512)
    fields = [cv2.GaussianBlur(random.standard_normal(shape).astype(np.float32), (0, 0), 7.0) for _ in codes]
    np.save(_raster_path(options), np.array(codes, np.uint16)[np.argmax(fields, axis=0)])


def _class_raster(options: Options) -> "npt.NDArray[np.uint16]":
    import numpy as np

    raster: npt.NDArray[np.uint16] = np.load(_raster_path(options))
    return raster


@contextmanager
def _polygons(options: Options) -> Iterator[Callable[[], float]]:
    import numpy as np
    import shapely

    from earthsignature_assets.products.boundaries import assemble_rings, ring_coordinates, trace_arcs
    from earthsignature_assets.products.regions import label_regions

    codes = _class_raster(options)

    def work() -> float:
        started = time.perf_counter()
        regions = label_regions(codes)
        arcs = trace_arcs(regions.labels)
        rings = assemble_rings(arcs, len(regions.codes))
        vertices, ring_offsets = ring_coordinates(arcs.vertices, arcs.offsets, rings)
        polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, vertices.astype(np.float64), (ring_offsets, rings.region_offsets)
        )
        seconds = time.perf_counter() - started
        assert len(polygons) >= _FEWEST_POLYGONS, len(polygons)
        return seconds

    yield work


@contextmanager
def _rasterio_shapes(options: Options) -> Iterator[Callable[[], float]]:
    from rasterio.features import shapes
    from shapely.geometry import shape

    codes = _class_raster(options)

    def work() -> float:
        started = time.perf_counter()
        polygons = [shape(geometry) for geometry, _ in shapes(codes, mask=codes != 0)]
        seconds = time.perf_counter() - started
        assert len(polygons) >= _FEWEST_POLYGONS, len(polygons)
        return seconds

    yield work


ROWS = (
    Row(
        name="polygons",
        title=f"a dense class raster of {_RASTER_SIDE}² px to polygons that share their vertices",
        unit=f"s ({_RASTER_SIDE}² px)",
        own=_polygons,
        peers={_SHAPES: _rasterio_shapes},
        target=Target(
            f"≥ {_POLYGONS_FASTER}× faster than {_SHAPES}",
            lambda value, peers: peers[_SHAPES] >= _POLYGONS_FASTER * value,
        ),
        prepare=_prepare,
    ),
)
