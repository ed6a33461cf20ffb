"""Labelled samples for training: an image with the CORINE code of each pixel, and the classes that a pixel may have.

A pixel of unknown class is void (0): it takes part in no loss and in no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

VOID = 0
"""The code of a pixel whose class is unknown."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A labelled piece of an image.

    `reflectance` is (10, height, width) uint16, × 10000, bands in the order of `S2_BANDS`, 0 = no data;
    `codes` is (height, width) uint16, CORINE level-3 codes, 0 = void. `level` is "L1C" (top of atmosphere) or
    "L2A" (surface). `label` is the source's own word. `also` gives, for a code, a second one that the label may mean.
    `weak`, (height, width) uint64, is the set of classes that a void pixel may be by a teacher's word, as
    `allowed_classes` writes it, 0 where it says nothing; it takes part in the loss and in no figure. `covers`,
    (covers, height, width) float32, is how probable the teacher holds each cover, for a side task of the network.
    `soft_labels`, (classes, height, width) float32, is how probable other networks hold each class (`distillation`).
    """

    name: str
    source: str
    level: str
    label: str
    reflectance: npt.NDArray[np.uint16]
    codes: npt.NDArray[np.uint16]
    longitude: float
    latitude: float
    also: Mapping[int, int] = field(default_factory=dict)
    weak: npt.NDArray[np.uint64] | None = None
    covers: npt.NDArray[np.float32] | None = None
    soft_labels: npt.NDArray[np.float32] | None = None

    def with_codes(self, codes: npt.NDArray[np.uint16]) -> "Sample":
        """The same image with other labels."""
        return replace(self, codes=codes)


def class_set(*codes: int, among: Sequence[int]) -> int:
    """A set of codes as a number: bit k stands for the k-th class of `among`; other codes are left out."""
    return sum(1 << among.index(code) for code in set(codes) if code in among)


def allowed_classes(sample: Sample, among: Sequence[int]) -> npt.NDArray[np.uint64]:
    """Return the set of classes that each pixel may be, (height, width) uint64 of `class_set`; 0 is void."""
    allowed = np.zeros(sample.codes.shape, np.uint64) if sample.weak is None else sample.weak.astype(np.uint64)
    for code in np.unique(sample.codes[sample.codes != VOID]):
        allowed[sample.codes == code] = class_set(int(code), sample.also.get(int(code), int(code)), among=among)
    return allowed
