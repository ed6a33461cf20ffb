"""What an inference engine is: something that turns reflectance into class indices, for one model version."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError
from earthsignature_assets.models.repository import ModelDescription


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

    Raises:
        ModelError: wrong type or shape, or a class index that the description does not have.
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
