"""What of a scene can be used: no data, cloud, shadow and snow from the scene classification (SCL).

SCL values (Sentinel-2 L2A, Sen2Cor): 0 no data, 1 saturated or defective, 2 dark area or cast shadow, 3 cloud
shadow, 4 vegetation, 5 not vegetated, 6 water, 7 unclassified, 8 cloud medium probability, 9 cloud high
probability, 10 thin cirrus, 11 snow or ice. Values above 11 do not exist; lossy copies hold some: they are masked.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.keys import SceneKey

OUTSIDE_VALUE = 0
DEFECTIVE_VALUE = 1
CLOUD_VALUES = (8, 9, 10)
SHADOW_VALUES = (3,)
SNOW_VALUES = (11,)
_HIGHEST_VALUE = 11

EDGE_M = 40.0
"""The swath's edge is eroded by this much: bands end at different columns there, with a rim of stray values."""

DILATION_M = 100.0
"""Clouds and shadows are grown by this much: Sen2Cor's edges are too tight."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SceneMask:
    """What of a scene can be used, on the classification's grid (20 m).

    Attributes:
        no_data: (height, width) bool, outside the eroded swath or defective.
        unreliable: (height, width) bool, under cloud or shadow, dilated, inside the swath.
        cloud_percent: cloud of the valid area, before dilation.
        shadow_percent: cloud shadow of the valid area, before dilation.
        snow_percent: snow of the valid area.
        valid_percent: the valid area as a part of the whole grid.
        clear_percent: valid and not unreliable, as a part of the whole grid.
    """

    no_data: Mask
    unreliable: Mask
    cloud_percent: float
    shadow_percent: float
    snow_percent: float
    valid_percent: float
    clear_percent: float


def mask_scene(classification: npt.NDArray[np.uint8], resolution_m: float = 20.0) -> SceneMask:
    """Turn a scene classification into masks and figures.

    Args:
        classification: (height, width) uint8, SCL values.
        resolution_m: pixel size of the classification.
    """
    outside = grow(classification == OUTSIDE_VALUE, EDGE_M, resolution_m)
    no_data = outside | (classification == DEFECTIVE_VALUE)
    cloud = (np.isin(classification, CLOUD_VALUES) | (classification > _HIGHEST_VALUE)) & ~no_data
    shadow = np.isin(classification, SHADOW_VALUES) & ~no_data
    snow = np.isin(classification, SNOW_VALUES) & ~no_data
    unreliable = grow(cloud | shadow, DILATION_M, resolution_m) & ~no_data
    valid = int(np.count_nonzero(~no_data))
    return SceneMask(
        no_data=no_data,
        unreliable=unreliable,
        cloud_percent=_percent(np.count_nonzero(cloud), valid),
        shadow_percent=_percent(np.count_nonzero(shadow), valid),
        snow_percent=_percent(np.count_nonzero(snow), valid),
        valid_percent=_percent(valid, classification.size),
        clear_percent=_percent(valid - np.count_nonzero(unreliable), classification.size),
    )


def grow(mask: Mask, by_m: float, resolution_m: float) -> Mask:
    """Dilate a mask by a disc of radius `by_m`."""
    radius = round(by_m / resolution_m)
    if radius < 1:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown: Mask = cv2.dilate(mask.view(np.uint8), disc).astype(bool)
    return grown


def _percent(part: np.integer[Any] | int, whole: int) -> float:
    return 100.0 * float(part) / whole if whole else 0.0


@dataclass(frozen=True)
class CloudPolicy:
    """When a scene is clear enough to be segmented.

    Attributes:
        max_cloud_percent: most cloud that the valid area may have.
        min_clear_percent: least part of the tile that must be valid and clear.
    """

    max_cloud_percent: float = 60.0
    min_clear_percent: float = 5.0


@dataclass(frozen=True)
class Verdict:
    """Whether a scene is segmented, and why."""

    key: SceneKey
    product_id: str
    accepted: bool
    reason: str
    cloud_percent: float
    shadow_percent: float
    snow_percent: float
    valid_percent: float
    clear_percent: float
    provider_cloud_percent: float | None


def judge(
    key: SceneKey, product_id: str, mask: SceneMask, policy: CloudPolicy, provider_cloud_percent: float | None
) -> Verdict:
    """Accept or refuse a scene by what can be seen of it, not by what the provider says of it."""
    if mask.valid_percent == 0:
        accepted, reason = False, "no valid pixel: the classification says no data everywhere"
    elif mask.cloud_percent > policy.max_cloud_percent:
        accepted = False
        reason = f"cloud covers {mask.cloud_percent:.1f} % of the valid area (at most {policy.max_cloud_percent:g} %)"
    elif mask.clear_percent < policy.min_clear_percent:
        accepted = False
        reason = f"only {mask.clear_percent:.1f} % of the tile is clear (at least {policy.min_clear_percent:g} %)"
    else:
        accepted, reason = True, f"{mask.clear_percent:.1f} % of the tile is clear"
    return Verdict(
        key=key,
        product_id=product_id,
        accepted=accepted,
        reason=reason,
        cloud_percent=mask.cloud_percent,
        shadow_percent=mask.shadow_percent,
        snow_percent=mask.snow_percent,
        valid_percent=mask.valid_percent,
        clear_percent=mask.clear_percent,
        provider_cloud_percent=provider_cloud_percent,
    )
