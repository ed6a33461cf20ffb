"""What of a scene can be used: no data, cloud, shadow and snow from the scene classification (SCL).

SCL values (Sentinel-2 L2A, Sen2Cor): 0 no data, 1 saturated or defective, 2 dark area or cast shadow, 3 cloud
shadow, 4 vegetation, 5 not vegetated, 6 water, 7 unclassified, 8 cloud medium probability, 9 cloud high
probability, 10 thin cirrus, 11 snow or ice. Values above 11 do not exist; lossy copies hold some: they are masked.

Class 2 changed its meaning with baseline 04.00, on 2022-01-25: dark areas of any kind before, shadows cast by terrain
since (ESA, Sentinel-2 processing baseline 04.00). Reprocessed data carry the newer meaning: the baseline decides, not
the date.
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
"""The swath's edge is eroded by this much: bands end at different columns there, with a rim of stray values."""

DILATION_M = 100.0
"""Clouds and shadows are grown by this much: Sen2Cor's edges are too tight."""

_ROWS_AT_ONCE = 256

CLEAR, UNRELIABLE, UNSEEN = np.uint8(0), np.uint8(1), np.uint8(2)
"""What a pixel of a scene mask is."""


@dataclass(frozen=True)
class MaskSet:
    """Which classes hide the ground.

    Attributes:
        name: what the configuration calls it.
        values: SCL values that make a pixel unreliable, and grow by 100 m.
        cast_shadow: whether terrain's shadow does so too; told apart since baseline 04.00 only.
    """

    name: str
    values: tuple[int, ...]
    cast_shadow: bool = False

    def values_of(self, baseline: tuple[int, int]) -> tuple[int, ...]:
        """The SCL values of this set in data of a baseline."""
        told = self.cast_shadow and baseline >= _CAST_SHADOW_SINCE
        return (*self.values, _CAST_SHADOW_VALUE) if told else self.values


MASK_SETS: Mapping[str, MaskSet] = {
    masks.name: masks
    for masks in (
        MaskSet("clouds", (*CLOUD_VALUES, *SHADOW_VALUES)),
        MaskSet("clouds-and-snow", (*CLOUD_VALUES, *SHADOW_VALUES, *SNOW_VALUES)),
        MaskSet("dense-clouds", (8, 9, *SHADOW_VALUES)),
        MaskSet("strict", (*CLOUD_VALUES, *SHADOW_VALUES, *SNOW_VALUES, 7), cast_shadow=True),
    )
}
"""The mask sets by name. `dense-clouds` sees through thin cirrus; `strict` keeps what is certainly lit ground."""


def mask_set_named(name: str) -> MaskSet:
    """Return a mask set.

    Raises:
        ConfigurationError: none has that name.
    """
    try:
        return MASK_SETS[name]
    except KeyError:
        raise ConfigurationError(f"no mask set is called {name!r}: choose one of {', '.join(MASK_SETS)}") from None


DEFAULT_MASKS = MASK_SETS[Settings.masks]
_NEWEST_BASELINE = (99, 99)


@dataclass(frozen=True)
class SceneMask:
    """What of a scene can be used, on the classification's grid (20 m).

    Attributes:
        states: (height, width) uint8, `CLEAR`, `UNRELIABLE` or `UNSEEN`.
        cloud_percent: cloud of the valid area, before dilation.
        shadow_percent: cloud shadow of the valid area, before dilation.
        snow_percent: snow of the valid area.
        valid_percent: the valid area as a part of the whole grid.
        clear_percent: valid and not unreliable, as a part of the whole grid.
    """

    states: npt.NDArray[np.uint8]
    cloud_percent: float
    shadow_percent: float
    snow_percent: float
    valid_percent: float
    clear_percent: float

    @property
    def no_data(self) -> npt.NDArray[np.bool_]:
        """Outside the eroded swath, or defective: (height, width) bool."""
        return np.asarray(self.states == UNSEEN)

    @property
    def unreliable(self) -> npt.NDArray[np.bool_]:
        """What the mask set hides, dilated, inside the swath: (height, width) bool."""
        return np.asarray(self.states == UNRELIABLE)


def mask_scene(
    classification: npt.NDArray[np.uint8],
    resolution_m: float = 20.0,
    masks: MaskSet = DEFAULT_MASKS,
    baseline: tuple[int, int] = _NEWEST_BASELINE,
) -> SceneMask:
    """Turn a scene classification into masks and figures.

    Args:
        classification: (height, width) uint8, SCL values.
        resolution_m: pixel size of the classification.
        masks: which classes hide the ground; the figures of cloud, shadow and snow are the same for all.
        baseline: the processing baseline that the classification comes from.
    """
    height = classification.shape[0]
    states = np.empty(classification.shape, np.uint8)
    counted = {"cloud": 0, "shadow": 0, "snow": 0, "valid": 0, "clear": 0}
    hidden_values = masks.values_of(baseline)
    halo = _radius(EDGE_M, resolution_m) + _radius(DILATION_M, resolution_m)
    # uint8 of 0 and 1 throughout: OpenCV's look-up and its vectorised logic take a fifth of what indexing does. A few
    # rows at a time: what lies between the classification and the masks stays in the processor's cache.
    for first in range(0, height, _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, height))
        above = min(first, halo)
        part = classification[first - above : rows.stop + halo]
        outside = grow(_among(part, (OUTSIDE_VALUE,)), EDGE_M, resolution_m)
        unseen = outside | _among(part, (DEFECTIVE_VALUE,))
        seen = unseen ^ np.uint8(1)
        hidden = grow(_among(part, hidden_values, beyond=True) & seen, DILATION_M, resolution_m)
        inner = slice(above, above + rows.stop - first)
        told, seen = part[inner], seen[inner]
        states[rows] = (hidden[inner] & seen) * UNRELIABLE + unseen[inner] * UNSEEN
        counted["valid"] += cv2.countNonZero(seen)
        counted["clear"] += cv2.countNonZero(seen & ~hidden[inner])
        counted["cloud"] += cv2.countNonZero(_among(told, CLOUD_VALUES, beyond=True) & seen)
        counted["shadow"] += cv2.countNonZero(_among(told, SHADOW_VALUES) & seen)
        counted["snow"] += cv2.countNonZero(_among(told, SNOW_VALUES) & seen)
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
    """1 where the classification holds one of the values or, where asked for, one that does not exist; else 0."""
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
    """Pixels that a distance takes."""
    return round(by_m / resolution_m)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
