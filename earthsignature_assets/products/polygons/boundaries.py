"""Boundaries of regions as arcs that neighbours share, and the rings made of arcs; compiled with numba.

A node is a pixel corner at which three or more boundaries meet. An arc is the boundary between two nodes with one
region (or no data) on each side, or a closed loop around an island with a single neighbour. Each arc exists once:
simplification and projection affect both neighbours alike, which keeps a coverage valid. `rasterio.features.shapes`
and GDAL's polygonizer drop the nodes along straight borders.

Pixel corners are (column, row), row 0 at the top.
"""

from dataclasses import dataclass
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

_STEP_ROW = np.array([-1, 0, 1, 0], np.int64)  # headings: 0 north, 1 east, 2 south, 3 west
_STEP_COLUMN = np.array([0, 1, 0, -1], np.int64)
_VERTEX, _NODE = 1, 2

Point = TypeVar("Point", np.int32, np.float64)


@dataclass(frozen=True)
class Arcs:
    """The arcs between regions, each with its two ends.

    Half-arc 2k runs along arc k as stored, 2k + 1 runs back.

    Attributes:
        vertices: (v, 2) int32, (column, row) of the ends and of the pixel corners where the boundary turns.
        offsets: (a + 1,) int64 into `vertices`.
        sides: (a, 2) int32, the labels on the left and right side; 0 is no data.
        ends: (a, 2) int32, the nodes where each begins and ends; -1 for a loop, whose last vertex is its first.
        followers: (2 a,) int32, for each half-arc the next one around the region on its left.
        node_count: number of nodes.
    """

    vertices: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    followers: npt.NDArray[np.int32]
    node_count: int


@dataclass(frozen=True)
class Rings:
    """The closed rings of regions, ordered by region, the outer ring of each first.

    Outer rings turn counter-clockwise where row 0 is north, holes clockwise.

    Attributes:
        half_arcs: (h,) int32.
        ring_offsets: (r + 1,) int64 into `half_arcs`.
        region_offsets: (n + 1,) int64 into the rings.
    """

    half_arcs: npt.NDArray[np.int32]
    ring_offsets: npt.NDArray[np.int64]
    region_offsets: npt.NDArray[np.int64]


def trace_arcs(labels: npt.NDArray[np.int32]) -> Arcs:
    """Follow every boundary of labelled regions once.

    Args:
        labels: (height + 2, width + 2) int32, as in `Regions`.
    """
    vertices, offsets, sides, ends, end_headings, node_arcs, node_vertices = _trace(labels)
    followers = _follow(labels, sides, ends, end_headings, node_arcs, node_vertices)
    return Arcs(vertices, offsets, sides, ends, followers, len(node_vertices))


def assemble_rings(arcs: Arcs, region_count: int) -> Rings:
    """Join the arcs around every region.

    Where two pixels of one region touch only at a corner, a hole touches the outer ring or another hole in a point, and
    no ring visits a node twice, so each polygon is valid.
    """
    half_arcs, ring_offsets, owners, is_hole = _join(arcs.vertices, arcs.offsets, arcs.sides, arcs.followers)
    order = np.lexsort((is_hole, owners))
    lengths = np.diff(ring_offsets)[order]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(ring_offsets[:-1][order] - offsets[:-1], lengths) + np.arange(len(half_arcs))
    rings_of_region = np.bincount(owners, minlength=region_count + 1)[1:]
    return Rings(half_arcs[source], offsets, np.concatenate([[0], np.cumsum(rings_of_region)]))


def ring_coordinates(
    points: npt.NDArray[Point], offsets: npt.NDArray[np.int64], rings: Rings
) -> tuple[npt.NDArray[Point], npt.NDArray[np.int64]]:
    """Join the points of arcs into rings, each closed: coordinates, and the offsets of rings into them.

    Args:
        points: (p, 2), the simplified or projected vertices of all arcs.
        offsets: (a + 1,) int64 into `points`.
        rings: the arcs of each ring.
    """
    coordinates, ring_offsets = _ring_coordinates(points, offsets, rings.half_arcs, rings.ring_offsets)
    return coordinates, ring_offsets


def signed_areas(
    vertices: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], sides: npt.NDArray[np.int32], region_count: int
) -> npt.NDArray[np.float64]:
    """Compute the area inside the boundaries of each region, in pixels: (region_count,) float64."""
    doubled: npt.NDArray[np.int64] = _doubled_areas(vertices, offsets, sides, region_count)
    return doubled[1:] / 2


@numba.njit(cache=True, nogil=True)
def _classify(labels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Mark the nodes among the pixel corners, count them in each row, and bound the size of the traced arcs."""
    height, width = labels.shape[0] - 1, labels.shape[1] - 1
    marks = np.zeros((height, width), np.uint8)
    nodes_before_row = np.zeros(height + 1, np.int64)
    corners = 0
    ends = 0
    for row in range(height):
        nodes = 0
        for column in range(width):
            north_west, north_east = labels[row, column], labels[row, column + 1]
            south_west, south_east = labels[row + 1, column], labels[row + 1, column + 1]
            if north_west == north_east and south_west == south_east and north_west == south_west:
                continue
            degree = (
                (north_west != north_east)
                + (south_west != south_east)
                + (north_west != south_west)
                + (north_east != south_east)
            )
            if degree > 2:
                marks[row, column] = _NODE
                nodes += 1
                ends += degree
            elif (north_west != north_east) != (south_west != south_east):
                corners += 1
        nodes_before_row[row + 1] = nodes_before_row[row] + nodes
    return marks, nodes_before_row, corners, ends


@numba.njit(cache=True, nogil=True)
def _trace(labels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    marks, nodes_before_row, corners, end_count = _classify(labels)
    height, width = marks.shape
    node_count = nodes_before_row[height]
    node_columns = np.empty(node_count, np.int32)
    node_vertices = np.empty((node_count, 2), np.int32)
    node = 0
    for row in range(height):
        for column in range(width):
            if marks[row, column] == _NODE:
                node_columns[node] = column
                node_vertices[node, 0] = column
                node_vertices[node, 1] = row
                node += 1
    node_arcs = np.full((node_count, 4), -1, np.int32)
    # A loop has at least four corners and repeats one.
    most_arcs = end_count // 2 + corners // 4
    vertices = np.empty((corners + end_count + corners // 4, 2), np.int32)
    offsets = np.zeros(most_arcs + 1, np.int64)
    sides = np.empty((most_arcs, 2), np.int32)
    ends = np.empty((most_arcs, 2), np.int32)
    end_headings = np.empty((most_arcs, 2), np.int8)
    size = 0
    arc = 0
    for kind in range(2):  # first from the nodes, then loops without a node
        for first_row in range(height):
            for first_column in range(width):
                mark = marks[first_row, first_column]
                north_west, north_east = labels[first_row, first_column], labels[first_row, first_column + 1]
                south_west, south_east = labels[first_row + 1, first_column], labels[first_row + 1, first_column + 1]
                if kind == 0:
                    if mark != _NODE:
                        continue
                    first_node = _node_at(nodes_before_row, node_columns, first_row, first_column)
                    headings = 4
                else:
                    # Every loop has an upper-left corner.
                    if mark != 0 or north_west != north_east or north_west != south_west or north_west == south_east:
                        continue
                    first_node = -1
                    headings = 2
                for first_heading in range(headings):
                    if kind == 0 and node_arcs[first_node, first_heading] != -1:
                        continue
                    if kind == 1 and first_heading != 1:
                        continue
                    if first_heading == 0:
                        left, right = north_west, north_east
                    elif first_heading == 1:
                        left, right = north_east, south_east
                    elif first_heading == 2:
                        left, right = south_east, south_west
                    else:
                        left, right = south_west, north_west
                    if left == right:
                        continue
                    row, column, heading = first_row, first_column, first_heading
                    if kind == 1:
                        marks[row, column] = _VERTEX
                    vertices[size, 0] = column
                    vertices[size, 1] = row
                    size += 1
                    while True:
                        row += _STEP_ROW[heading]
                        column += _STEP_COLUMN[heading]
                        mark = marks[row, column]
                        if mark == _NODE or (mark == _VERTEX and row == first_row and column == first_column):
                            break
                        if heading == 0:
                            ahead_left, ahead_right = labels[row, column], labels[row, column + 1]
                        elif heading == 1:
                            ahead_left, ahead_right = labels[row, column + 1], labels[row + 1, column + 1]
                        elif heading == 2:
                            ahead_left, ahead_right = labels[row + 1, column + 1], labels[row + 1, column]
                        else:
                            ahead_left, ahead_right = labels[row + 1, column], labels[row, column]
                        if ahead_left != ahead_right:
                            continue
                        heading = (heading + 3) % 4 if ahead_left == right else (heading + 1) % 4
                        marks[row, column] = _VERTEX
                        vertices[size, 0] = column
                        vertices[size, 1] = row
                        size += 1
                    vertices[size, 0] = column
                    vertices[size, 1] = row
                    size += 1
                    sides[arc, 0] = left
                    sides[arc, 1] = right
                    end_headings[arc, 0] = first_heading
                    end_headings[arc, 1] = heading
                    ends[arc, 0] = first_node
                    ends[arc, 1] = -1
                    if kind == 0:
                        last_node = _node_at(nodes_before_row, node_columns, row, column)
                        ends[arc, 1] = last_node
                        node_arcs[first_node, first_heading] = 2 * arc
                        node_arcs[last_node, (heading + 2) % 4] = 2 * arc + 1
                    arc += 1
                    offsets[arc] = size
    return (
        vertices[:size].copy(),
        offsets[: arc + 1].copy(),
        sides[:arc].copy(),
        ends[:arc].copy(),
        end_headings[:arc],
        node_arcs,
        node_vertices,
    )


@numba.njit(cache=True, nogil=True)
def _node_at(nodes_before_row, node_columns, row, column):  # type: ignore[no-untyped-def]  # pragma: no cover
    low, high = nodes_before_row[row], nodes_before_row[row + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if node_columns[middle] <= column:
            low = middle
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _follow(labels, sides, ends, end_headings, node_arcs, node_vertices):  # type: ignore[no-untyped-def]  # pragma: no cover
    followers = np.empty(2 * sides.shape[0], np.int32)
    for arc in range(sides.shape[0]):
        for back in range(2):
            half = 2 * arc + back
            if ends[arc, 0] < 0:
                followers[half] = half
                continue
            label = sides[arc, back]
            node = ends[arc, 1 - back]
            heading = end_headings[arc, 1] if back == 0 else (end_headings[arc, 0] + 2) % 4
            column, row = node_vertices[node, 0], node_vertices[node, 1]
            if heading == 0:
                ahead_left, ahead_right = labels[row, column], labels[row, column + 1]
            elif heading == 1:
                ahead_left, ahead_right = labels[row, column + 1], labels[row + 1, column + 1]
            elif heading == 2:
                ahead_left, ahead_right = labels[row + 1, column + 1], labels[row + 1, column]
            else:
                ahead_left, ahead_right = labels[row + 1, column], labels[row, column]
            if ahead_right == label:
                heading = (heading + 1) % 4
            elif ahead_left != label:
                heading = (heading + 3) % 4
            followers[half] = node_arcs[node, heading]
    return followers


@numba.njit(cache=True, nogil=True)
def _doubled_area(vertices, start, end):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Compute twice an arc's contribution to the area on its left; y points up."""
    doubled = np.int64(0)
    for vertex in range(start, end - 1):
        doubled += np.int64(vertices[vertex + 1, 0]) * vertices[vertex, 1]
        doubled -= np.int64(vertices[vertex, 0]) * vertices[vertex + 1, 1]
    return doubled


@numba.njit(cache=True, nogil=True)
def _doubled_areas(vertices, offsets, sides, region_count):  # type: ignore[no-untyped-def]  # pragma: no cover
    areas = np.zeros(region_count + 1, np.int64)
    for arc in range(sides.shape[0]):
        doubled = _doubled_area(vertices, offsets[arc], offsets[arc + 1])
        areas[sides[arc, 0]] += doubled
        areas[sides[arc, 1]] -= doubled
    return areas


@numba.njit(cache=True, nogil=True)
def _join(vertices, offsets, sides, followers):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    half_count = followers.size
    done = np.zeros(half_count, np.bool_)
    half_arcs = np.empty(half_count, np.int32)
    ring_offsets = np.zeros(half_count + 1, np.int64)
    owners = np.empty(half_count, np.int32)
    is_hole = np.empty(half_count, np.bool_)
    size = 0
    ring = 0
    for first in range(half_count):
        label = sides[first // 2, first % 2]
        if label == 0 or done[first]:
            continue
        doubled = np.int64(0)
        half = first
        while not done[half]:
            done[half] = True
            half_arcs[size] = half
            size += 1
            arc = half // 2
            along = _doubled_area(vertices, offsets[arc], offsets[arc + 1])
            doubled += along if half % 2 == 0 else -along
            half = followers[half]
        owners[ring] = label
        is_hole[ring] = doubled < 0
        ring += 1
        ring_offsets[ring] = size
    return half_arcs[:size].copy(), ring_offsets[: ring + 1].copy(), owners[:ring].copy(), is_hole[:ring].copy()


@numba.njit(cache=True, nogil=True)
def _ring_coordinates(points, offsets, half_arcs, ring_offsets):  # type: ignore[no-untyped-def]  # pragma: no cover
    starts = np.zeros_like(ring_offsets)
    for ring in range(ring_offsets.size - 1):
        size = 1
        for index in range(ring_offsets[ring], ring_offsets[ring + 1]):
            arc = half_arcs[index] // 2
            size += offsets[arc + 1] - offsets[arc] - 1
        starts[ring + 1] = starts[ring] + size
    coordinates = np.empty((starts[-1], 2), points.dtype)
    for ring in range(ring_offsets.size - 1):
        size = starts[ring]
        for index in range(ring_offsets[ring], ring_offsets[ring + 1]):
            arc = half_arcs[index] // 2
            first, last = offsets[arc], offsets[arc + 1] - 1
            for step in range(last - first):
                coordinates[size] = points[first + step] if half_arcs[index] % 2 == 0 else points[last - step]
                size += 1
        coordinates[size] = coordinates[starts[ring]]
    return coordinates, starts
