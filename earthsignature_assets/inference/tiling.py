"""Split an array into windows whose results join without a seam.

Each window has a core, which it answers for, and a halo around it, which it only looks at. With a halo of at least
half the receptive field and origins on multiples of the network's stride, the joined cores equal the result of the
whole array at once, bit for bit. Beyond the array's edge the halo is no data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError


@dataclass(frozen=True)
class Span:
    """One side of a window, in pixels: the core [start, stop) and what is read around it, edges included.

    `read_start` may be negative and `read_stop` past the array: that part is no data.
    """

    start: int
    stop: int
    read_start: int
    read_stop: int

    @property
    def core(self) -> slice:
        """The core in the array."""
        return slice(self.start, self.stop)

    @property
    def core_in_read(self) -> slice:
        """The core in what was read."""
        return slice(self.start - self.read_start, self.stop - self.read_start)

    def inside(self, length: int) -> slice:
        """The part of the read that exists in an array of that length."""
        return slice(max(0, self.read_start), min(length, self.read_stop))

    def padding(self, length: int) -> tuple[int, int]:
        """How much of the read lies before and after an array of that length."""
        inside = self.inside(length)
        return inside.start - self.read_start, self.read_stop - inside.stop


def spans(length: int, core: int, halo: int, stride: int) -> Iterator[Span]:
    """Cut one side of an array into spans.

    Args:
        length: pixels of the array's side.
        core: pixels of a core, a multiple of the stride; the last one may be shorter.
        halo: pixels read on either side of a core, a multiple of the stride.
        stride: the network's total down-sampling.

    Raises:
        ModelError: core or halo is no multiple of the stride.
    """
    if core < 1 or core % stride or halo % stride:
        raise ModelError(f"core {core} and halo {halo} must be multiples of the stride {stride}")
    for start in range(0, length, core):
        stop = min(start + core, length)
        read = -(-(stop - start) // stride) * stride
        yield Span(start, stop, start - halo, start + read + halo)


def pad(array: npt.NDArray[np.uint16], rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Surround the last two axes with no data (0)."""
    if not any((*rows, *columns)):
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [rows, columns])
