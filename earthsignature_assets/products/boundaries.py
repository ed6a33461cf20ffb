"""From a class raster to the boundaries of its regions: labelling and tracing, compiled with numba.

A region is a 4-connected set of pixels of one code. Every ring keeps its corners and, besides, each vertex at
which three or more regions meet, also where it runs straight: neighbours then share all their vertices, which is
what a valid coverage needs. `rasterio.features.shapes` drops those vertices.

No data (0) is never a region. Pixel corners are (column, row), row 0 at the top.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

_STEP_ROW = np.array([-1, 0, 1, 0], np.int64)  # headings: 0 north, 1 east, 2 south, 3 west
_STEP_COLUMN = np.array([0, 1, 0, -1], np.int64)


@dataclass(frozen=True)
class Regions:
    """The regions of a raster; region k of n is the value k + 1 of `labels`, in order of first pixel.

    Attributes:
        labels: (height + 2, width + 2) int32, with a frame of 0 around the raster; 0 is no data.
        codes: (n,) uint16.
        pixels: (n,) int64, how many pixels each has.
    """

    labels: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint16]
    pixels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rings:
    """The closed rings of regions, ordered by region, the outer ring of each first.

    Attributes:
        vertices: (v, 2) float64, (column, row) of pixel corners; a ring's last vertex repeats its first. Outer
            rings turn counter-clockwise where row 0 is north, holes clockwise.
        ring_offsets: (r + 1,) int64 into `vertices`.
        region_offsets: (n + 1,) int64 into the rings.
    """

    vertices: npt.NDArray[np.float64]
    ring_offsets: npt.NDArray[np.int64]
    region_offsets: npt.NDArray[np.int64]


def label_regions(codes: npt.NDArray[np.uint16]) -> Regions:
    """Number the 4-connected regions of a class raster, (height, width) uint16, 0 = no data."""
    labels, first_codes, pixels = _label(np.ascontiguousarray(codes))
    return Regions(labels, first_codes, pixels)


def mean_by_region(regions: Regions, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean of a raster, (height, width) uint8, over the pixels of each region: (n,) float64."""
    sums: npt.NDArray[np.int64] = _sum_by_label(regions.labels, np.ascontiguousarray(values), len(regions.codes))
    means: npt.NDArray[np.float64] = sums / regions.pixels
    return means


def trace_rings(regions: Regions) -> Rings:
    """Trace the boundary of every region.

    Where two pixels of one region touch only at a corner, the rings cross over rather than pinch: a hole touches
    the outer ring or another hole in a point, and no ring visits a vertex twice, so each polygon is valid.
    """
    vertices, ring_starts, ring_labels = _trace(regions.labels)
    order = np.argsort(ring_labels, kind="stable")
    lengths = np.diff(ring_starts)[order]
    ring_offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(ring_starts[:-1][order] - ring_offsets[:-1], lengths) + np.arange(len(vertices))
    rings_of_region = np.bincount(ring_labels, minlength=len(regions.codes) + 1)[1:]
    region_offsets = np.concatenate([[0], np.cumsum(rings_of_region)])
    return Rings(vertices[source].astype(np.float64), ring_offsets, region_offsets)


@numba.njit(cache=True)
def _root(parent, label):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@numba.njit(cache=True)
def _label(codes):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    height, width = codes.shape
    provisional = 0
    for row in range(height):
        for column in range(width):
            code = codes[row, column]
            if (
                code != 0
                and (column == 0 or codes[row, column - 1] != code)
                and (row == 0 or codes[row - 1, column] != code)
            ):
                provisional += 1
    parent = np.arange(provisional + 1).astype(np.int32)
    labels = np.zeros((height + 2, width + 2), np.int32)
    used = 0
    for row in range(height):
        for column in range(width):
            code = codes[row, column]
            if code == 0:
                continue
            west = labels[row + 1, column] if column > 0 and codes[row, column - 1] == code else 0
            north = labels[row, column + 1] if row > 0 and codes[row - 1, column] == code else 0
            if west == 0 and north == 0:
                used += 1
                labels[row + 1, column + 1] = used
            elif west == 0 or north == 0 or west == north:
                labels[row + 1, column + 1] = max(west, north)
            else:
                first, second = _root(parent, west), _root(parent, north)
                low, high = min(first, second), max(first, second)
                parent[high] = low
                labels[row + 1, column + 1] = low
    # A root is the lowest of its labels, so numbering in label order is numbering by first pixel.
    final = np.zeros(provisional + 1, np.int32)
    count = 0
    for label in range(1, provisional + 1):
        root = _root(parent, label)
        if root == label:
            count += 1
            final[label] = count
        else:
            final[label] = final[root]
    region_codes = np.zeros(count, np.uint16)
    pixels = np.zeros(count, np.int64)
    for row in range(height):
        for column in range(width):
            label = final[labels[row + 1, column + 1]]
            labels[row + 1, column + 1] = label
            if label != 0:
                region_codes[label - 1] = codes[row, column]
                pixels[label - 1] += 1
    return labels, region_codes, pixels


@numba.njit(cache=True)
def _sum_by_label(labels, values, count):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    sums = np.zeros(count + 1, np.int64)
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            sums[labels[row + 1, column + 1]] += values[row, column]
    return sums[1:]


@numba.njit(cache=True)
def _trace(labels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    height, width = labels.shape
    # Every ring runs west somewhere, along the top side of a pixel of its region: those sides mark what is done.
    done = np.zeros((height, width), np.bool_)
    vertices = np.empty((1024, 2), np.int32)
    starts = np.empty(256, np.int64)
    owners = np.empty(256, np.int64)
    size = 0
    rings = 0
    for top in range(1, height - 1):
        for left in range(1, width - 1):
            label = labels[top, left]
            if label == 0 or labels[top - 1, left] == label or done[top, left]:
                continue
            if rings + 2 > starts.size:
                starts = np.concatenate((starts, np.empty_like(starts)))
                owners = np.concatenate((owners, np.empty_like(owners)))
            starts[rings] = size
            owners[rings] = label
            rings += 1
            first = size
            # A vertex is the upper-left corner of the pixel of the same indices. The region is on the left hand.
            row, column, heading = top, left, 3
            done[top, left] = True
            while True:
                if heading == 0:
                    ahead_left, ahead_right, behind_right = (row - 1, column - 1), (row - 1, column), (row, column)
                elif heading == 1:
                    ahead_left, ahead_right, behind_right = (row - 1, column), (row, column), (row, column - 1)
                elif heading == 2:
                    ahead_left, ahead_right, behind_right = (row, column), (row, column - 1), (row - 1, column - 1)
                else:
                    ahead_left, ahead_right, behind_right = (row, column - 1), (row - 1, column - 1), (row - 1, column)
                turned = True
                if labels[ahead_right] == label:
                    heading = (heading + 1) % 4
                elif labels[ahead_left] == label:
                    turned = labels[ahead_right] != labels[behind_right]
                else:
                    heading = (heading + 3) % 4
                if turned:
                    if size + 2 > vertices.shape[0]:
                        vertices = np.concatenate((vertices, np.empty_like(vertices)))
                    vertices[size, 0] = column - 1
                    vertices[size, 1] = row - 1
                    size += 1
                row += _STEP_ROW[heading]
                column += _STEP_COLUMN[heading]
                if heading == 3:
                    if row == top and column == left:
                        break
                    done[row, column] = True
            vertices[size] = vertices[first]
            size += 1
    starts[rings] = size
    return vertices[:size], starts[: rings + 1], owners[:rings]
