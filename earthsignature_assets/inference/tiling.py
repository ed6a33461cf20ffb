"""Split an array into windows whose results join without a seam.

Each window has a core, whose result is kept, and a halo around it, which is only input. With a halo of at least half
the receptive field and origins on multiples of the network's stride, the joined cores equal the result of the whole
array at once, bit for bit. Beyond the array's edge the halo is no data. A core is trimmed to its valid pixels, so
that a window costs no more than its content.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError


@dataclass(frozen=True)
class Span:
    """One dimension of a window, in pixels: the core [start, stop), and the range to read, which includes the halo.

    `read_start` may be negative and `read_stop` past the array: that part is no data.
    """

    start: int
    stop: int
    read_start: int
    read_stop: int

    @property
    def read_length(self) -> int:
        """Number of pixels to read, a multiple of the stride."""
        return self.read_stop - self.read_start

    @property
    def core(self) -> slice:
        """Core within the array."""
        return slice(self.start, self.stop)

    @property
    def core_in_read(self) -> slice:
        """Core within the pixels read."""
        return slice(self.start - self.read_start, self.stop - self.read_start)

    def inside(self, length: int) -> slice:
        """Return the part of the range to read that exists in an array of this length."""
        return slice(max(0, self.read_start), min(length, self.read_stop))

    def padding(self, length: int) -> tuple[int, int]:
        """Return how many pixels to read lie before and after an array of this length."""
        inside = self.inside(length)
        return inside.start - self.read_start, self.read_stop - inside.stop


@dataclass(frozen=True, eq=False)
class Window:
    """A window with valid pixels: its rows, its columns, and the no data of its core, (rows, columns) bool."""

    rows: Span
    columns: Span
    no_data: npt.NDArray[np.bool_]

    @property
    def shape_read(self) -> tuple[int, int]:
        """Rows and columns, halo included."""
        return self.rows.read_length, self.columns.read_length

    @property
    def pixels_read(self) -> int:
        """Number of pixels, halo included."""
        return self.rows.read_length * self.columns.read_length


def valid_windows(
    shape: tuple[int, int],
    no_data: Callable[[slice], npt.NDArray[np.bool_]],
    core: int,
    halo: int,
    stride: int,
) -> Iterator[Window | None]:
    """Yield the windows of a scene, row by row; None for a window without a valid pixel.

    Args:
        shape: rows and columns of the scene.
        no_data: reads where nothing was observed in some rows: (rows, columns) bool.
        core: side of a core in pixels before it is trimmed, a multiple of the stride.
        halo: pixels read around a core, a multiple of the stride.
        stride: the network's total down-sampling.

    Raises:
        ModelError: core or halo is not a multiple of the stride.
    """
    for rows in spans(shape[0], core, halo, stride):
        missing = no_data(rows.core)
        for columns in spans(shape[1], core, halo, stride):
            seen: npt.NDArray[np.bool_] = ~missing[:, columns.core]
            if not seen.any():
                yield None
                continue
            trimmed_rows = _trimmed(rows, np.flatnonzero(seen.any(axis=1)), halo, stride)
            trimmed_columns = _trimmed(columns, np.flatnonzero(seen.any(axis=0)), halo, stride)
            inside = slice(trimmed_rows.start - rows.start, trimmed_rows.stop - rows.start)
            yield Window(trimmed_rows, trimmed_columns, missing[inside, trimmed_columns.core])


def spans(length: int, core: int, halo: int, stride: int) -> Iterator[Span]:
    """Split one dimension of an array into spans.

    Args:
        length: length of the dimension in pixels.
        core: length of a core in pixels, a multiple of the stride; the last one may be shorter.
        halo: pixels to read on either side of a core, a multiple of the stride.
        stride: the network's total down-sampling.

    Raises:
        ModelError: core or halo is not a multiple of the stride.
    """
    if core < 1 or core % stride or halo % stride:
        raise ModelError(f"core {core} and halo {halo} must be multiples of the stride {stride}")
    for start in range(0, length, core):
        yield _span(start, min(start + core, length), halo, stride)


def _span(start: int, stop: int, halo: int, stride: int) -> Span:
    read = -(-(stop - start) // stride) * stride
    return Span(start, stop, start - halo, start + read + halo)


def _trimmed(span: Span, seen: npt.NDArray[np.intp], halo: int, stride: int) -> Span:
    """Return the shortest span that covers these positions of a core; it still begins on the stride."""
    first, last = int(seen[0]), int(seen[-1])
    return _span(span.start + first // stride * stride, span.start + last + 1, halo, stride)


def pad(array: npt.NDArray[np.uint16], rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Surround the last two axes with no data (0)."""
    if not any((*rows, *columns)):
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [rows, columns])
