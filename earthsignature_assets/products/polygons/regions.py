"""Regions of a class raster: labelling, and sieving to a minimum mapping unit; compiled with numba.

A region is a 4-connected set of pixels of one code. No data (0) is never a region.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Regions:
    """The regions of a raster; region k of n is the value k + 1 of `labels`, in order of first pixel.

    Attributes:
        labels: (height + 2, width + 2) int32, with a frame of 0 around the raster; 0 is no data.
        codes: (n,) uint16.
        pixels: (n,) int64, number of pixels of each.
    """

    labels: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint16]
    pixels: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the raster."""
        return self.labels.shape[0] - 2, self.labels.shape[1] - 2

    def pixels_by_code(self) -> dict[int, int]:
        """Count the pixels of each class."""
        counts = np.bincount(self.codes, self.pixels)
        return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}

    def raster(self) -> npt.NDArray[np.uint16]:
        """Convert the regions back to a raster of codes: (height, width) uint16, 0 = no data."""
        table = np.concatenate([np.zeros(1, np.uint16), self.codes])
        raster: npt.NDArray[np.uint16] = table[self.labels[1:-1, 1:-1]]
        return raster


def label_regions(codes: npt.NDArray[np.uint16]) -> Regions:
    """Label the 4-connected regions of a class raster, (height, width) uint16, 0 = no data."""
    return Regions(*_label(np.ascontiguousarray(codes)))


def sieve_regions(regions: Regions, min_pixels: int) -> Regions:
    """Merge every region below `min_pixels` into its largest neighbour, the smallest regions first.

    A merged region that is still too small is merged again, so only regions surrounded by no data stay below the unit.
    (GDAL's sieve leaves clusters of small regions.) No data stays unchanged. `regions.labels` is overwritten.
    """
    if min_pixels <= 1:
        return regions
    renumbered, codes, pixels = _merge(regions.labels, regions.codes, regions.pixels, min_pixels)
    if len(codes) != len(regions.codes):
        _renumber(regions.labels, renumbered)
    return Regions(regions.labels, codes, pixels)


def mean_by_region(regions: Regions, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Compute the mean of a raster, (height, width) uint8, over each region: (n,) float64."""
    sums: npt.NDArray[np.int64] = _sum_by_label(regions.labels, np.ascontiguousarray(values), len(regions.codes))
    means: npt.NDArray[np.float64] = sums / regions.pixels
    return means


@numba.njit(cache=True, nogil=True)
def _root(parent, label):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _neighbours_of_small(labels, small):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """List, for each small region, the labels across its pixels' sides: offsets, and the labels themselves."""
    height, width = labels.shape
    offsets = np.zeros(small.size + 1, np.int64)
    neighbours = np.empty(0, np.int32)
    for filling in range(2):
        if filling:
            total = 0
            for label in range(small.size):
                total, offsets[label] = total + offsets[label], total
            offsets[small.size] = total
            neighbours = np.empty(total, np.int32)
        for row in range(1, height - 1):
            for column in range(1, width - 1):
                here = labels[row, column]
                for across in (labels[row, column + 1], labels[row + 1, column]):
                    if here == across or here == 0 or across == 0:
                        continue
                    if small[here]:
                        if filling:
                            neighbours[offsets[here]] = across
                        offsets[here] += 1
                    if small[across]:
                        if filling:
                            neighbours[offsets[across]] = here
                        offsets[across] += 1
    # Filling has moved each offset to its end, which is the start of the next.
    for label in range(small.size, 0, -1):
        offsets[label] = offsets[label - 1]
    offsets[0] = 0
    return offsets, neighbours


@numba.njit(cache=True, nogil=True)
def _merge(labels, region_codes, region_pixels, min_pixels):  # type: ignore[no-untyped-def]  # pragma: no cover
    count = region_codes.size
    code = np.zeros(count + 1, np.uint16)
    size = np.zeros(count + 1, np.int64)
    code[1:] = region_codes
    size[1:] = region_pixels
    small = size < min_pixels
    small[0] = False
    offsets, neighbours = _neighbours_of_small(labels, small)
    parent = np.arange(count + 1).astype(np.int32)
    # The original regions of a merged one that is still small, as a linked list: only those are visited again.
    following = np.zeros(count + 1, np.int32)
    last = np.arange(count + 1).astype(np.int32)
    waiting = np.flatnonzero(small).astype(np.int32)
    for wanted in range(1, min_pixels):
        kept = 0
        for position in range(waiting.size):
            label = waiting[position]
            if parent[label] != label or size[label] >= min_pixels:
                continue
            if size[label] != wanted:
                waiting[kept] = label
                kept += 1
                continue
            best = np.int32(0)
            member = label
            while member != 0:
                for index in range(offsets[member], offsets[member + 1]):
                    other = _root(parent, neighbours[index])
                    if other != label and (
                        best == 0 or size[other] > size[best] or (size[other] == size[best] and other < best)
                    ):
                        best = other
                member = following[member]
            if best == 0:
                continue
            # With its neighbour's code, the region joins every neighbour of that code.
            new_code = code[best]
            member = label
            while member != 0:
                for index in range(offsets[member], offsets[member + 1]):
                    other = _root(parent, neighbours[index])
                    if other != label and other != best and code[other] == new_code:
                        parent[other] = best
                        size[best] += size[other]
                        if size[best] < min_pixels:
                            following[last[best]] = other
                            last[best] = last[other]
                member = following[member]
            parent[label] = best
            size[best] += size[label]
            if size[best] < min_pixels:
                following[last[best]] = label
                last[best] = last[label]
        waiting = waiting[:kept]
        if kept == 0:
            break
    renumbered = np.zeros(count + 1, np.int32)
    new_codes = np.empty(count, np.uint16)
    new_pixels = np.empty(count, np.int64)
    used = 0
    for label in range(1, count + 1):
        root = _root(parent, label)
        if renumbered[root] == 0:
            used += 1
            renumbered[root] = used
            new_codes[used - 1] = code[root]
            new_pixels[used - 1] = size[root]
        renumbered[label] = renumbered[root]
    return renumbered, new_codes[:used].copy(), new_pixels[:used].copy()


@numba.njit(cache=True, nogil=True)
def _renumber(labels, renumbered):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    height, width = labels.shape
    for row in range(height):
        for column in range(width):
            labels[row, column] = renumbered[labels[row, column]]


@numba.njit(cache=True, nogil=True)
def _sum_by_label(labels, values, count):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    sums = np.zeros(count + 1, np.int64)
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            sums[labels[row + 1, column + 1]] += values[row, column]
    return sums[1:]
