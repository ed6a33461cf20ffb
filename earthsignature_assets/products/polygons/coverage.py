"""Validation of polygon coverages: neighbours share their borders vertex for vertex, and none overlaps another.

GEOS tests this exactly, but slowly, and nearly all of a tile needs no such test. The number of polygons over a point
changes only across an edge whose reverse no other polygon has: where all edges are in pairs it stays 1, and an overlap
is bounded by unpaired edges. So GEOS gets only the polygons near such edges: those at the outer border, at holes of
no data, and at faults.
"""

import math

import numba
import numpy as np
import numpy.typing as npt
import shapely

from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer

_MOST_CELLS = 2048  # a side of the map of edges without a pair: on a tile about 5 pixels each


def invalid_polygons(layer: PolygonLayer) -> npt.NDArray[np.int64]:
    """Find the polygons that overlap or do not match others, as (k,) int64 in ascending order; empty for a coverage.

    The result is empty if and only if `shapely.coverage_is_valid`. It may omit some of several overlapping polygons;
    holes between polygons are not a fault.

    Args:
        layer: valid polygons with finite coordinates.
    """
    near = _near_unpaired_edges(layer)
    faults = shapely.coverage_invalid_edges(layer.chosen(near).geometries())
    return np.flatnonzero(near)[~shapely.is_empty(faults)]


def _near_unpaired_edges(layer: PolygonLayer) -> npt.NDArray[np.bool_]:
    """Mark the polygons whose box meets that of an unpaired edge, rounded up to cells: (n,) bool."""
    coordinates = np.ascontiguousarray(layer.coordinates)
    starts = np.flatnonzero(
        _unpaired(coordinates, coordinates.view(np.uint64), layer.ring_offsets, layer.polygon_offsets)
    )
    if not len(starts):
        return np.zeros(len(layer), np.bool_)
    bounds = layer.bounds()
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    side = min(4 * math.isqrt(len(layer)) + 1, _MOST_CELLS)
    scale = side / np.where(high > low, high - low, 1.0)

    def cells(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        inside: npt.NDArray[np.int64] = np.minimum((points - low) * scale, side - 1).astype(np.int64)
        return inside

    begin, end = cells(coordinates[starts]), cells(coordinates[starts + 1])
    occupied = _occupied(np.minimum(begin, end), np.maximum(begin, end), side)
    before = np.zeros((side + 1, side + 1), np.int64)
    before[1:, 1:] = occupied.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (west, south), (east, north) = cells(bounds[:, :2]).T, cells(bounds[:, 2:]).T + 1
    near: npt.NDArray[np.bool_] = (
        before[east, north] - before[west, north] - before[east, south] + before[west, south]
    ) > 0
    return near


def _occupied(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.bool_]:
    """Mark the cells under boxes of cells, both ends included, as (side, side) bool.

    Each box adds 1 at its first corner and subtracts it beyond its last.
    """
    steps = np.zeros((side + 1, side + 1), np.int32)
    (west, south), (east, north) = first.T, last.T + 1
    for columns, rows, step in ((west, south, 1), (east, south, -1), (west, north, -1), (east, north, 1)):
        np.add.at(steps, (columns, rows), step)
    occupied: npt.NDArray[np.bool_] = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return occupied


@numba.njit(cache=True, nogil=True)
def _corner_hash(coordinates, bits, vertex):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    factor = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth, The Art of Computer Programming 3, 6.4
    mixed = np.uint64(0)
    for axis in range(2):
        if coordinates[vertex, axis] != 0:  # 0.0 and -0.0 are equal, their bits are not
            mixed ^= bits[vertex, axis]
        mixed *= factor
        mixed ^= mixed >> np.uint64(32)
    return mixed * factor


@numba.njit(cache=True, nogil=True)
def _turns_left(coordinates, start, end):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    doubled = 0.0
    x, y = coordinates[start, 0], coordinates[start, 1]
    for vertex in range(start, end - 1):
        doubled += (coordinates[vertex, 0] - x) * (coordinates[vertex + 1, 1] - y)
        doubled -= (coordinates[vertex + 1, 0] - x) * (coordinates[vertex, 1] - y)
    return doubled > 0


@numba.njit(cache=True, nogil=True)
def _unpaired(coordinates, bits, ring_offsets, polygon_offsets):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mark the vertices whose edge has no reverse edge: (v,) bool.

    Of two equal edges in one direction, the second counts as unpaired, and so do those of a ring with the wrong
    orientation: otherwise a polygon on top of its own reverse would cancel out. `bits` are those of the coordinates.
    """
    unpaired = np.zeros(coordinates.shape[0], np.bool_)
    size = 16
    while size < 1.5 * coordinates.shape[0]:
        size *= 2
    table = np.full(size, -1, np.int32)
    for polygon in range(polygon_offsets.size - 1):
        for ring in range(polygon_offsets[polygon], polygon_offsets[polygon + 1]):
            start, end = ring_offsets[ring], ring_offsets[ring + 1]
            right_way = _turns_left(coordinates, start, end) == (ring == polygon_offsets[polygon])
            end_hash = _corner_hash(coordinates, bits, start)
            for edge in range(start, end - 1):
                begin_hash, end_hash = end_hash, _corner_hash(coordinates, bits, edge + 1)
                x, y = coordinates[edge, 0], coordinates[edge, 1]
                other_x, other_y = coordinates[edge + 1, 0], coordinates[edge + 1, 1]
                if x == other_x and y == other_y:
                    continue
                unpaired[edge] = True
                if not right_way:
                    continue
                edge_hash = begin_hash + end_hash  # the same in both directions
                slot = np.int64((edge_hash ^ (edge_hash >> np.uint64(32))) & np.uint64(size - 1))
                while table[slot] >= 0:
                    met = table[slot]
                    if (
                        coordinates[met, 0] == other_x
                        and coordinates[met, 1] == other_y
                        and coordinates[met + 1, 0] == x
                        and coordinates[met + 1, 1] == y
                    ):
                        if unpaired[met]:
                            unpaired[met] = False
                            unpaired[edge] = False
                        break
                    if (
                        coordinates[met, 0] == x
                        and coordinates[met, 1] == y
                        and coordinates[met + 1, 0] == other_x
                        and coordinates[met + 1, 1] == other_y
                    ):
                        break
                    slot = (slot + 1) & (size - 1)
                if table[slot] < 0:
                    table[slot] = edge
    return unpaired
