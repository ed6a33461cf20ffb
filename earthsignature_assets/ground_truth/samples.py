"""Labelled samples for training: an image, the CORINE code of each pixel, and the classes that a pixel may have.

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

    Attributes:
        name: unique among the samples of one training.
        source: the data set.
        level: "L1C" (top of atmosphere) or "L2A" (surface).
        label: the label in the source's words.
        reflectance: (10, height, width) uint16 × 10000, bands in the order of `S2_BANDS`, 0 = no data.
        codes: CORINE level-3 codes, (height, width) uint16, 0 = void.
        longitude: of the centre, in degrees (EPSG:4326).
        latitude: of the centre, in degrees (EPSG:4326).
        also: for a code, a second code that the label may mean.
        weak: classes that a teacher allows for a void pixel, (height, width) uint64 encoded as by `allowed_classes`,
            0 where the teacher is silent. They take part in the loss and in no figure.
        covers: the teacher's probability of each cover, (covers, height, width) float32, for a side task of the
            network.
        soft_labels: probability of each class by other networks, (classes, height, width) float32.
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
        """Return the same image with other labels."""
        return replace(self, codes=codes)


def class_set(*codes: int, among: Sequence[int]) -> int:
    """Encode a set of codes as a number: bit k stands for the k-th class of `among`; other codes are left out."""
    return sum(1 << among.index(code) for code in set(codes) if code in among)


def allowed_classes(sample: Sample, among: Sequence[int]) -> npt.NDArray[np.uint64]:
    """Return the set of classes that each pixel may be, (height, width) uint64 of `class_set`; 0 is void."""
    allowed = np.zeros(sample.codes.shape, np.uint64) if sample.weak is None else sample.weak.astype(np.uint64)
    for code in np.unique(sample.codes[sample.codes != VOID]):
        allowed[sample.codes == code] = class_set(int(code), sample.also.get(int(code), int(code)), among=among)
    return allowed
