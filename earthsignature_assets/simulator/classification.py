"""The scene classification (SCL) that Sen2Cor would give a simulated scene."""

import numpy as np
import numpy.typing as npt

from earthsignature_assets.simulator.sky import CLOUD_OPACITY, Sky

SceneClasses = npt.NDArray[np.uint8]

NO_DATA, DARK, SHADOW, VEGETATION, BARE, WATER, UNCLASSIFIED = 0, 2, 3, 4, 5, 6, 7
CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS, SNOW = 8, 9, 10, 11

_VEGETATION_INDEX = 0.38
_DARK_REFLECTANCE = 900


def classify(
    valid: npt.NDArray[np.bool_],
    water: npt.NDArray[np.bool_],
    red: npt.NDArray[np.uint16],
    near_infrared: npt.NDArray[np.uint16],
    sky: Sky,
) -> SceneClasses:
    """Classify 20 m cells with Sen2Cor's values (2 dark … 10 thin cirrus), 0 = no data.

    Args:
        valid: (rows, columns) bool, true where a cell was observed; the others have the same shape.
        water: bool, true where the land is water.
        red: B04 reflectance × 10000, uint16.
        near_infrared: B08 reflectance × 10000, uint16.
        sky: the clouds and shadows.
    """
    r, n = red.astype(np.float32), near_infrared.astype(np.float32)
    index = (n - r) / np.maximum(n + r, 1.0)
    classes = np.full(valid.shape, BARE, np.uint8)
    classes[index > _VEGETATION_INDEX] = VEGETATION
    classes[(n < _DARK_REFLECTANCE) & (index <= _VEGETATION_INDEX)] = DARK
    classes[water] = WATER
    classes[(sky.opacity > CLOUD_OPACITY / 2) & (classes == BARE)] = UNCLASSIFIED
    classes[sky.shadow > 0.4] = SHADOW
    classes[sky.opacity >= CLOUD_OPACITY] = CIRRUS
    classes[sky.opacity > 0.25] = CLOUD_MEDIUM
    classes[sky.opacity > 0.55] = CLOUD_HIGH
    classes[~valid] = NO_DATA
    return classes


def percentages(classes: SceneClasses) -> dict[int, float]:
    """Return the percentage of each class 1…11 among the cells with data; zeros if there are none."""
    counts = np.bincount(classes.ravel(), minlength=12)
    with_data = max(1, int(counts[1:].sum()))
    return {number: 100.0 * int(counts[number]) / with_data for number in range(1, 12)}
