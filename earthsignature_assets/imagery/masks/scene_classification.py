"""Mask a scene: no data, cloud, shadow and snow from the scene classification (SCL).

SCL values (Sentinel-2 L2A, Sen2Cor): 0 no data, 1 saturated or defective, 2 dark area or cast shadow, 3 cloud
shadow, 4 vegetation, 5 not vegetated, 6 water, 7 unclassified, 8 cloud medium probability, 9 cloud high
probability, 10 thin cirrus, 11 snow or ice. Values above 11 do not exist, but lossy copies hold some: they are masked.

Class 2 changed its meaning with baseline 04.00, on 2022-01-25: before, dark areas of any kind; since, shadows cast by
terrain (ESA, Sentinel-2 processing baseline 04.00). Reprocessed data carry the newer meaning: the baseline decides,
not the date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.system.settings import Settings

OUTSIDE_VALUE = 0
DEFECTIVE_VALUE = 1
CLOUD_VALUES = (8, 9, 10)
SHADOW_VALUES = (3,)
SNOW_VALUES = (11,)
LAND_VALUE = 5
_HIGHEST_VALUE = 11
_CAST_SHADOW_VALUE, _CAST_SHADOW_SINCE = 2, (4, 0)

EDGE_M = 40.0
"""Erosion of the swath's edge: bands end at different columns there, with a rim of stray values."""

DILATION_M = 100.0
"""Dilation of clouds and shadows: Sen2Cor's edges are too tight."""

_ROWS_AT_ONCE = 256

CLEAR, UNRELIABLE, UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)
"""States of a pixel in a scene mask."""


@dataclass(frozen=True)
class MaskSet:
    """A set of classes that hide the ground.

    Attributes:
        name: name in the configuration.
        values: SCL values that make a pixel unreliable, dilated by 100 m.
        cast_shadow: whether shadow cast by terrain does so too; it is a separate class since baseline 04.00.
    """

    name: str
    values: tuple[int, ...]
    cast_shadow: bool = False

    def values_of(self, baseline: tuple[int, int]) -> tuple[int, ...]:
        """Return the SCL values of this set in data of a baseline."""
        cast_shadow = self.cast_shadow and baseline >= _CAST_SHADOW_SINCE
        return (*self.values, _CAST_SHADOW_VALUE) if cast_shadow else self.values


MASK_SETS: Mapping[str, MaskSet] = {
    masks.name: masks
    for masks in (
        MaskSet("clouds", (*CLOUD_VALUES, *SHADOW_VALUES)),
        MaskSet("clouds-and-snow", (*CLOUD_VALUES, *SHADOW_VALUES, *SNOW_VALUES)),
        MaskSet("dense-clouds", (8, 9, *SHADOW_VALUES)),
        MaskSet("strict", (*CLOUD_VALUES, *SHADOW_VALUES, *SNOW_VALUES, 7), cast_shadow=True),
    )
}
"""Mask sets by name. `dense-clouds` ignores thin cirrus; `strict` keeps only ground that is certainly sunlit."""


def mask_set_named(name: str) -> MaskSet:
    """Return a mask set.

    Raises:
        ConfigurationError: there is no such set.
    """
    try:
        return MASK_SETS[name]
    except KeyError:
        raise ConfigurationError(f"there is no mask set {name!r}: choose one of {', '.join(MASK_SETS)}") from None


DEFAULT_MASKS = MASK_SETS[Settings.masks]
_NEWEST_BASELINE = (99, 99)


@dataclass(frozen=True)
class SceneMask:
    """The mask of a scene on the classification's grid (20 m), and its figures.

    Attributes:
        states: (height, width) uint8, `CLEAR`, `UNRELIABLE` or `UNSEEN`.
        cloud_percent: cloud cover of the valid area, before dilation.
        shadow_percent: cloud shadow of the valid area, before dilation.
        snow_percent: snow of the valid area.
        valid_percent: valid part of the whole grid.
        clear_percent: valid and reliable part of the whole grid.
    """

    states: npt.NDArray[np.uint8]
    cloud_percent: float
    shadow_percent: float
    snow_percent: float
    valid_percent: float
    clear_percent: float

    @property
    def no_data(self) -> npt.NDArray[np.bool_]:
        """Pixels outside the eroded swath, and defective ones: (height, width) bool."""
        return np.asarray(self.states == UNSEEN)

    @property
    def unreliable(self) -> npt.NDArray[np.bool_]:
        """Pixels inside the swath that the dilated mask set hides: (height, width) bool."""
        return np.asarray(self.states == UNRELIABLE)


def mask_scene(
    classification: npt.NDArray[np.uint8],
    resolution_m: float = 20.0,
    masks: MaskSet = DEFAULT_MASKS,
    baseline: tuple[int, int] = _NEWEST_BASELINE,
) -> SceneMask:
    """Derive a scene's mask and its figures from the classification.

    Args:
        classification: (height, width) uint8, SCL values.
        resolution_m: pixel size of the classification.
        masks: the classes that hide the ground; cloud, shadow and snow percentages do not depend on it.
        baseline: processing baseline of the classification.
    """
    height = classification.shape[0]
    states = np.empty(classification.shape, np.uint8)
    counted = {"cloud": 0, "shadow": 0, "snow": 0, "valid": 0, "clear": 0}
    hidden_values = masks.values_of(baseline)
    halo = _radius(EDGE_M, resolution_m) + _radius(DILATION_M, resolution_m)
    # uint8 of 0 and 1 throughout: OpenCV's look-up tables and vectorised logic take a fifth of the time of indexing.
    # A few rows at a time keep the intermediate arrays in the processor's cache.
    for first in range(0, height, _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, height))
        above = min(first, halo)
        part = classification[first - above : rows.stop + halo]
        outside = grow(_among(part, (OUTSIDE_VALUE,)), EDGE_M, resolution_m)
        unseen = outside | _among(part, (DEFECTIVE_VALUE,))
        seen = unseen ^ np.uint8(1)
        hidden = grow(_among(part, hidden_values, beyond=True) & seen, DILATION_M, resolution_m)
        inner = slice(above, above + rows.stop - first)
        values, seen = part[inner], seen[inner]
        states[rows] = (hidden[inner] & seen) * UNRELIABLE + unseen[inner] * UNSEEN
        counted["valid"] += cv2.countNonZero(seen)
        counted["clear"] += cv2.countNonZero(seen & ~hidden[inner])
        counted["cloud"] += cv2.countNonZero(_among(values, CLOUD_VALUES, beyond=True) & seen)
        counted["shadow"] += cv2.countNonZero(_among(values, SHADOW_VALUES) & seen)
        counted["snow"] += cv2.countNonZero(_among(values, SNOW_VALUES) & seen)
    valid = counted["valid"]
    return SceneMask(
        states=states,
        cloud_percent=_percent(counted["cloud"], valid),
        shadow_percent=_percent(counted["shadow"], valid),
        snow_percent=_percent(counted["snow"], valid),
        valid_percent=_percent(valid, classification.size),
        clear_percent=_percent(counted["clear"], classification.size),
    )


def _among(classification: npt.NDArray[np.uint8], values: Sequence[int], beyond: bool = False) -> npt.NDArray[np.uint8]:
    """Return 1 where the classification is one of the values or, with `beyond`, one that does not exist; else 0."""
    table = np.zeros(256, np.uint8)
    table[list(values)] = 1
    if beyond:
        table[_HIGHEST_VALUE + 1 :] = 1
    found: npt.NDArray[np.uint8] = np.asarray(cv2.LUT(classification, table), np.uint8)
    return found


def grow(mask: npt.NDArray[np.uint8], by_m: float, resolution_m: float) -> npt.NDArray[np.uint8]:
    """Dilate a mask of 0 and 1 by a disc of radius `by_m`."""
    radius = _radius(by_m, resolution_m)
    if radius < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, disc), np.uint8)


def _radius(by_m: float, resolution_m: float) -> int:
    """Convert a distance to whole pixels."""
    return round(by_m / resolution_m)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
