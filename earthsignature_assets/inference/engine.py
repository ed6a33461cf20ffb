"""What an inference engine is: something that turns reflectance into class indices, for one model version."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError
from earthsignature_assets.models.repository import ModelDescription

_CANARY_PIXELS = 64
_CANARY_VALUES = (0, 1, 1000, 10_000, 65_535)


@dataclass(frozen=True)
class Segments:
    """What a model says of a batch of windows.

    Attributes:
        class_index: (n, height, width) uint8, k is the k-th class of the model's description (from 1).
        confidence: (n, height, width) uint8, percent.
    """

    class_index: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]


class Engine(Protocol):
    """Runs one model version, wherever it is."""

    @property
    def description(self) -> ModelDescription:
        """What the model needs and tells."""
        ...

    @property
    def windows_at_once(self) -> int:
        """How many calls of `segment` may be under way at once, each in a thread of its own."""
        ...

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows.

        Args:
            reflectance: (n, bands, height, width) uint16, sides multiples of the model's stride.

        Raises:
            ModelError: the array or the answer does not fit the model.
            EngineUnavailableError: the engine does not answer.
        """
        ...


def check_request(description: ModelDescription, reflectance: npt.NDArray[np.uint16]) -> None:
    """Refuse an array that the model was not made for, before any engine sees it.

    Raises:
        ModelError: wrong type, band count, or a side that is no multiple of the stride.
    """
    bands, stride = len(description.bands), description.stride
    if reflectance.dtype != np.uint16:
        raise ModelError(f"{description.model} takes uint16 reflectance × 10000, not {reflectance.dtype}")
    if reflectance.ndim != 4 or reflectance.shape[1] != bands:
        raise ModelError(f"{description.model} takes (n, {bands}, height, width), not {reflectance.shape}")
    if reflectance.shape[2] % stride or reflectance.shape[3] % stride:
        raise ModelError(
            f"{description.model} takes windows whose sides are multiples of {stride}, not {reflectance.shape[2:]}"
        )


def check_segments(description: ModelDescription, reflectance: npt.NDArray[np.uint16], segments: Segments) -> None:
    """Refuse an answer that is not what the model's description promises.

    The told class is the most probable one, so its probability is never less than one of as many as there are
    classes. A confidence below that, or above 100 %, is what a network's NaN becomes as uint8.

    Raises:
        ModelError: wrong type or shape, a class index that the description does not have, or a confidence that no
            probability gives.
    """
    wanted = (reflectance.shape[0], *reflectance.shape[2:])
    for name, values in (("class_index", segments.class_index), ("confidence", segments.confidence)):
        if values.dtype != np.uint8 or values.shape != wanted:
            raise ModelError(
                f"{description.model}: {name} came back as {values.dtype} {values.shape}, expected uint8 {wanted}"
            )
    highest = len(description.classes)
    found = (int(segments.class_index.min()), int(segments.class_index.max()))
    if found[0] < 1 or found[1] > highest:
        raise ModelError(f"{description.model}: class indices {found[0]}…{found[1]} came back, expected 1…{highest}")
    least = 100 // highest
    told = (int(segments.confidence.min()), int(segments.confidence.max()))
    if told[0] < least or told[1] > 100:
        raise ModelError(
            f"{description.model}: confidences {told[0]}…{told[1]} % came back, expected {least}…100: the network "
            "gives NaN for some reflectance; check its weights and precision, and export it again"
        )


def canary(description: ModelDescription) -> npt.NDArray[np.uint16]:
    """A small window that a sound engine answers: no data, dark, usual, bright and saturated, (1, bands, n, n) uint16.

    Reduced precision overflows at its extremes first.
    """
    side = -(-_CANARY_PIXELS // description.stride) * description.stride
    values = np.resize(np.array(_CANARY_VALUES, np.uint16).repeat(8), side)
    return np.ascontiguousarray(np.broadcast_to(values, (1, len(description.bands), side, side)))
