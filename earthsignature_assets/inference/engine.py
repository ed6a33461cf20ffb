"""The interface of inference engines, which classify reflectance with one model version."""

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
    """A model's output for a batch of windows.

    Attributes:
        class_index: (n, height, width) uint8, k is the k-th class of the model's description, counted from 1.
        confidence: (n, height, width) uint8, percent.
    """

    class_index: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]


class Engine(Protocol):
    """An engine that runs one model version, in this process or on a server."""

    @property
    def description(self) -> ModelDescription:
        """Description of the model version: its inputs and classes."""
        ...

    @property
    def windows_at_once(self) -> int:
        """Largest number of concurrent calls of `segment`, each from its own thread."""
        ...

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows.

        Args:
            reflectance: (n, bands, height, width) uint16, sides multiples of the model's stride.

        Raises:
            ModelError: the array or the output does not fit the model.
            EngineUnavailableError: the engine does not respond.
        """
        ...


def check_request(description: ModelDescription, reflectance: npt.NDArray[np.uint16]) -> None:
    """Refuse an array that does not fit the model, before an engine gets it.

    Raises:
        ModelError: wrong dtype or band count, or a side that is not a multiple of the stride.
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
    """Refuse output that contradicts the model's description.

    The output class is the most probable one of K, so its probability is at least 1 / K. A confidence below that, or
    above 100 %, comes from a network's NaN converted to uint8.

    Raises:
        ModelError: wrong dtype or shape, a class index outside the description, or an impossible confidence.
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
    low, high = int(segments.confidence.min()), int(segments.confidence.max())
    if low < least or high > 100:
        raise ModelError(
            f"{description.model}: confidences {low}…{high} % came back, expected {least}…100: the network "
            "outputs NaN for some reflectance; check its weights and precision, and export it again"
        )


def canary(description: ModelDescription) -> npt.NDArray[np.uint16]:
    """Make a test window of no data, dark, usual, bright and saturated pixels: (1, bands, n, n) uint16.

    Reduced precision overflows at these extremes first.
    """
    side = -(-_CANARY_PIXELS // description.stride) * description.stride
    values = np.resize(np.array(_CANARY_VALUES, np.uint16).repeat(8), side)
    return np.ascontiguousarray(np.broadcast_to(values, (1, len(description.bands), side, side)))
