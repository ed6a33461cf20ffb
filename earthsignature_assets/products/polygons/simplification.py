"""Simplify the boundaries of a coverage, each shared arc once: Visvalingam and Whyatt's algorithm on pixel corners.

The corner whose triangle with its two neighbours is smallest is removed first, as long as that area is at most the
square of the tolerance (the criterion of GEOS' and JTS' coverage simplifier). Nodes never move.

The result is valid because a corner is removed only if no other vertex of any boundary lies in its closed triangle:
nothing can cross the new edge, and the boundaries stay a planar graph with the same faces. Vertices are pixel corners,
so by Pick's theorem a triangle of half a pixel has no other pixel corner in it; the few in larger triangles are looked
up in a map of the remaining vertices.

Source: Visvalingam and Whyatt 1993, Line generalisation by repeated elimination of points, Cartographic Journal 30.
"""

import numba
import numpy as np
import numpy.typing as npt

from earthsignature_assets.products.polygons.boundaries import Arcs


def simplify_arcs(
    arcs: Arcs, shape: tuple[int, int], tolerance_pixels: float, exact: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the remaining vertices, (v, 2) int32, and their offsets, (a + 1,) int64, as in `Arcs`.

    Args:
        arcs: the boundaries of all regions.
        shape: height and width of the raster.
        tolerance_pixels: corners whose triangle is larger than this squared stay.
        exact: (a,) bool, the arcs that must not change; None for none.
    """
    fewest_inner = _fewest_inner(arcs)
    frozen = np.zeros(len(arcs.sides), bool) if exact is None else exact
    doubled_tolerance = int(np.floor(2 * tolerance_pixels**2 + 1e-9))
    kept = _simplify(arcs.vertices, arcs.offsets, fewest_inner, frozen, doubled_tolerance, shape[0] + 1, shape[1] + 1)
    before = np.concatenate([[0], np.cumsum(kept)])
    return arcs.vertices[kept], before[arcs.offsets]


def _fewest_inner(arcs: Arcs) -> npt.NDArray[np.int32]:
    """Count the vertices that an arc must keep between its ends, so that no arcs coincide and no loop vanishes."""
    low, high = arcs.ends.min(axis=1).astype(np.int64), arcs.ends.max(axis=1).astype(np.int64)
    pair = low * max(arcs.node_count, 1) + high
    order = np.argsort(pair, kind="stable")
    same = pair[order][1:] == pair[order][:-1]
    shared = np.zeros(len(pair), bool)
    shared[order[1:][same]] = True
    shared[order[:-1][same]] = True
    return np.where(low == high, 2, shared).astype(np.int32)


@numba.njit(cache=True, nogil=True)
def _push(heap, size, key):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    position = size
    while position > 0:
        parent = (position - 1) >> 1
        if heap[parent] <= key:
            break
        heap[position] = heap[parent]
        position = parent
    heap[position] = key
    return size + 1


@numba.njit(cache=True, nogil=True)
def _pop(heap, size):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Remove the first key; the heap must hold one."""
    size -= 1
    key = heap[size]
    position = 0
    while True:
        child = 2 * position + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[position] = heap[child]
        position = child
    heap[position] = key
    return size


@numba.njit(cache=True, nogil=True)
def _doubled_triangle(vertices, first, second, third):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    return abs(
        np.int64(vertices[second, 0] - vertices[first, 0]) * (vertices[third, 1] - vertices[first, 1])
        - np.int64(vertices[third, 0] - vertices[first, 0]) * (vertices[second, 1] - vertices[first, 1])
    )


@numba.njit(cache=True, nogil=True)
def _reach(column, row, other_column, other_row, at):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Compute the columns that a triangle's side spans in a row, rounded inwards; empty if it misses the row."""
    if row > other_row:
        column, row, other_column, other_row = other_column, other_row, column, row
    if at < row or at > other_row:
        return np.int64(1) << 40, -(np.int64(1) << 40)
    if row == other_row:
        return np.int64(min(column, other_column)), np.int64(max(column, other_column))
    run = np.int64(other_column - column) * (at - row)
    rise = other_row - row
    return column + -(-run // rise), column + run // rise


@numba.njit(cache=True, nogil=True)
def _is_free(is_vertex, vertices, first, second, third):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Tell whether the closed triangle has no vertices but its own."""
    column_1, row_1 = np.int64(vertices[first, 0]), np.int64(vertices[first, 1])
    column_2, row_2 = np.int64(vertices[second, 0]), np.int64(vertices[second, 1])
    column_3, row_3 = np.int64(vertices[third, 0]), np.int64(vertices[third, 1])
    for row in range(min(row_1, row_2, row_3), max(row_1, row_2, row_3) + 1):
        low_1, high_1 = _reach(column_1, row_1, column_2, row_2, row)
        low_2, high_2 = _reach(column_2, row_2, column_3, row_3, row)
        low_3, high_3 = _reach(column_1, row_1, column_3, row_3, row)
        for column in range(min(low_1, low_2, low_3), max(high_1, high_2, high_3) + 1):
            if (
                is_vertex[row, column]
                and not (row == row_1 and column == column_1)
                and not (row == row_2 and column == column_2)
                and not (row == row_3 and column == column_3)
            ):
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _simplify(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    vertices, offsets, fewest_inner, frozen, doubled_tolerance, rows, columns
):
    kept = np.ones(vertices.shape[0], np.bool_)
    is_vertex = np.zeros((rows, columns), np.bool_)
    for vertex in range(vertices.shape[0]):
        is_vertex[vertices[vertex, 1], vertices[vertex, 0]] = True
    longest = 0
    for arc in range(frozen.size):
        longest = max(longest, offsets[arc + 1] - offsets[arc])
    before = np.empty(longest, np.int64)
    after = np.empty(longest, np.int64)
    doubled = np.empty(longest, np.int64)
    heap = np.empty(3 * longest + 1, np.int64)
    for arc in range(frozen.size):
        start, end = offsets[arc], offsets[arc + 1]
        inner = end - start - 2
        if frozen[arc] or inner <= fewest_inner[arc]:
            continue
        size = 0
        for vertex in range(start + 1, end - 1):
            place = vertex - start
            before[place] = place - 1
            after[place] = place + 1
            doubled[place] = _doubled_triangle(vertices, vertex - 1, vertex, vertex + 1)
            if doubled[place] <= doubled_tolerance:
                size = _push(heap, size, doubled[place] << 32 | place)
        last = end - start - 1
        after[0] = 1
        while size > 0 and inner > fewest_inner[arc]:
            key = heap[0]
            size = _pop(heap, size)
            place = key & 0xFFFFFFFF
            if not kept[start + place] or doubled[place] != key >> 32:
                continue
            previous, following = before[place], after[place]
            if doubled[place] > 1 and not _is_free(
                is_vertex, vertices, start + previous, start + place, start + following
            ):
                continue
            kept[start + place] = False
            is_vertex[vertices[start + place, 1], vertices[start + place, 0]] = False
            inner -= 1
            if previous > 0:
                after[previous] = following
                doubled[previous] = _doubled_triangle(
                    vertices, start + before[previous], start + previous, start + following
                )
                if doubled[previous] <= doubled_tolerance:
                    size = _push(heap, size, doubled[previous] << 32 | previous)
            if following < last:
                before[following] = previous
                doubled[following] = _doubled_triangle(
                    vertices, start + previous, start + following, start + after[following]
                )
                if doubled[following] <= doubled_tolerance:
                    size = _push(heap, size, doubled[following] << 32 | following)
    return kept
