"""Ground truth on a pixel grid, with void where nothing is known. Pure numpy and rasterio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.label_scheme import Statement

_STRIP = 512


@dataclass(frozen=True)
class Remark:
    """Ground truth that was left out or altered: source, reason, count, and unit (polygons, pixels, points)."""

    source: str
    reason: str
    count: int
    what: str


def remarked(source: str, reason: str, count: int, what: str = "pixels") -> list[Remark]:
    """Return a remark, or nothing if the count is 0."""
    return [Remark(source, reason, count, what)] if count else []


@dataclass(frozen=True, eq=False)
class TruthRaster:
    """Ground truth of the pixels of a grid: three arrays (height, width), 0 in all of them where nothing is known.

    `codes` are CORINE level-3 codes, uint16; `levels` is the level to which the code is known, uint8, 1 to 3; `also` is
    a second, equally likely code, uint16, 0 for none.
    """

    codes: npt.NDArray[np.uint16]
    levels: npt.NDArray[np.uint8]
    also: npt.NDArray[np.uint16]

    @classmethod
    def void(cls, shape: tuple[int, int]) -> Self:
        """Return a raster without any label."""
        return cls(np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), np.zeros(shape, np.uint16))

    @classmethod
    def of(cls, index: npt.NDArray[np.integer], statements: Sequence[Statement]) -> Self:
        """Create a raster from the number 1…N of each pixel's statement; 0 is void."""
        table = np.zeros((3, len(statements) + 1), np.uint16)
        for number, statement in enumerate(statements, 1):
            table[:, number] = statement.code, statement.level, statement.also
        return cls(table[0][index], table[1][index].astype(np.uint8), table[2][index])

    def window(self, rows: slice, columns: slice) -> "TruthRaster":
        """Return a window."""
        return TruthRaster(self.codes[rows, columns], self.levels[rows, columns], self.also[rows, columns])

    def masked(self, void: npt.NDArray[np.bool_]) -> "TruthRaster":
        """Return a copy that is void where `void` is true."""
        return TruthRaster(
            *(np.where(void, np.zeros((), part.dtype), part) for part in (self.codes, self.levels, self.also))
        )

    def counts(self) -> dict[Statement, int]:
        """Count the pixels of each statement."""
        keys, counts = np.unique(self._keys(), return_counts=True)
        return {_statement(key): int(count) for key, count in zip(keys, counts, strict=True) if key}

    def combined(self, other: "TruthRaster") -> tuple["TruthRaster", int]:
        """Combine two sources: the finer of two labels that agree, void where they contradict.

        Returns:
            The raster, and the number of contradicting pixels.
        """
        height = self.codes.shape[0]
        result, contradicting = TruthRaster.void(self.codes.shape), 0
        # In strips: intermediate arrays take eight times the memory of the result.
        for top in range(0, height, _STRIP):
            rows, all_columns = slice(top, top + _STRIP), slice(None)
            part, count = self.window(rows, all_columns)._combined(other.window(rows, all_columns))
            result.codes[rows], result.levels[rows], result.also[rows] = part.codes, part.levels, part.also
            contradicting += count
        return result, contradicting

    def _combined(self, other: "TruthRaster") -> tuple["TruthRaster", int]:
        own, second = self._keys(), other._keys()
        differing = (own != 0) & (second != 0) & (own != second)
        result = np.where(own == 0, second, own)
        # A tile has 120 million pixels and a few dozen pairs of statements: each pair is decided once.
        pairs, of_pair = np.unique(
            own[differing].astype(np.uint64) << np.uint64(32) | second[differing], return_inverse=True
        )
        decided = np.array([_finer(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in pairs], np.uint32)
        result[differing] = decided[of_pair] if pairs.size else 0
        contradicting = int(np.count_nonzero(result[differing] == 0))
        parts = (result >> 12).astype(np.uint16), (result >> 10 & 3).astype(np.uint8), (result & 1023).astype(np.uint16)
        return TruthRaster(*parts), contradicting

    def _keys(self) -> npt.NDArray[np.uint32]:
        codes, levels, also = (part.astype(np.uint32) for part in (self.codes, self.levels, self.also))
        return codes * np.uint32(4096) + levels * np.uint32(1024) + also


def _statement(key: int) -> Statement:
    return Statement(int(key) >> 12, int(key) >> 10 & 3, int(key) & 1023)


def _finer(one: int, other: int) -> int:
    """Return the finer of two statements that agree; 0 where they contradict each other."""
    first, second = _statement(one), _statement(other)
    if second.refines(first):
        return other
    return one if first.refines(second) else 0


def burn(shapes: Mapping[Statement, Sequence[BaseGeometry]], grid: PixelGrid) -> tuple[TruthRaster, int]:
    """Burn polygons into a grid: a pixel gets the statement of the polygon over its centre.

    Args:
        shapes: the polygons of each statement, in the CRS of the grid.
        grid: the grid.

    Returns:
        The raster, and the number of pixels that are void because polygons of different statements overlap there.
    """
    statements = sorted(shapes)
    numbered = [(shape, number) for number, key in enumerate(statements, 1) for shape in shapes[key]]
    if not numbered:
        return TruthRaster.void(grid.shape), 0
    # The last one wins, so both orders differ wherever different statements overlap.
    highest, lowest = (
        rasterize(order, out_shape=grid.shape, transform=grid.transform, dtype=np.uint16)
        for order in (numbered, numbered[::-1])
    )
    contradicting = highest != lowest
    return TruthRaster.of(np.where(contradicting, 0, highest), statements), int(np.count_nonzero(contradicting))
