"""Read the windows of a scene from its patches, and decode each patch once.

Neighbouring windows and their halos share patches. A patch that later windows need stays decoded: about two rows of
patches, not the tile.
"""

import numpy as np
import numpy.typing as npt

from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.inference.tiling import Window


class WindowReader:
    """A reader of windows in the order of `valid_windows`; not thread-safe."""

    def __init__(self, patches: PatchStore, core: int, halo: int) -> None:
        """Prepare to read.

        Args:
            patches: the scene's patches.
            core: side of a window's core in pixels before it is trimmed.
            halo: pixels to read around a core.
        """
        self._patches, self._core, self._halo = patches, core, halo
        self._size = patches.patch_size
        self._decoded: dict[tuple[int, int], npt.NDArray[np.uint16]] = {}

    def read(self, window: Window) -> npt.NDArray[np.uint16]:
        """Read reflectance × 10000 of a window and its halo: (1, bands, rows, columns) uint16, 0 beyond the scene."""
        reflectance = np.zeros((1, len(self._patches.bands), *window.shape_read), np.uint16)
        height, width = self._patches.grid.shape
        rows, columns = window.rows.inside(height), window.columns.inside(width)
        self._forget(window)
        for row in range(rows.start // self._size, -(-rows.stop // self._size)):
            for column in range(columns.start // self._size, -(-columns.stop // self._size)):
                patch = self._patch(row, column)
                from_rows, to_rows = _overlap(row * self._size, patch.shape[1], rows, window.rows.read_start)
                from_columns, to_columns = _overlap(
                    column * self._size, patch.shape[2], columns, window.columns.read_start
                )
                reflectance[0, :, to_rows, to_columns] = patch[:, from_rows, from_columns]
        return reflectance

    def _patch(self, row: int, column: int) -> npt.NDArray[np.uint16]:
        found = self._decoded.get((row, column))
        if found is None:
            rows, columns = (slice(at * self._size, (at + 1) * self._size) for at in (row, column))
            found = self._decoded[row, column] = self._patches.reflectance(rows, columns)
        return found

    def _forget(self, window: Window) -> None:
        """Drop the patches that neither the rest of this row of windows nor the next row needs."""
        top = window.rows.start // self._core * self._core
        left = window.columns.start // self._core * self._core
        for row, column in list(self._decoded):
            bottom, right = (row + 1) * self._size, (column + 1) * self._size
            read_here = bottom > top - self._halo and right > left - self._halo
            read_below = bottom > top + self._core - self._halo
            if not (read_here or read_below):
                del self._decoded[row, column]


def _overlap(start: int, length: int, wanted: slice, read_start: int) -> tuple[slice, slice]:
    """Return the position of a patch's wanted pixels in the patch, and in the pixels read."""
    first, last = max(start, wanted.start), min(start + length, wanted.stop)
    return slice(first - start, last - start), slice(first - read_start, last - read_start)
