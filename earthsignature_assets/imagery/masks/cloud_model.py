"""Cloud detection for scenes without a classification (L1C): the U-Net of ukis-csmask.

It takes six bands of top-of-atmosphere reflectance at 60 m and detects cloud and cloud shadow, but no snow. On its
authors' test patch (512² px, manual labels) 90 % of the pixels agree, at the patch's own resolution and at half of it;
the intersection over union is 0.76 and 0.74 for cloud, 0.70 and 0.71 for shadow.

Source: Wieland, Fichtner, Martinis: "UKIS-CSMASK: a Python package for multi-sensor cloud and cloud shadow
segmentation", ISPRS Archives XLIII-B3-2022. The package is the extra `cloud`.
"""

import warnings

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.masks.scene_classification import (
    CLOUD_VALUES,
    LAND_VALUE,
    OUTSIDE_VALUE,
    SHADOW_VALUES,
)

CLOUD_BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
"""The model's input bands, in the order of its stack."""

RESOLUTION_M = 60.0
"""Pixel size of the model's input: four times as fast as 30 m, with the same agreement."""

_NAMES = ("blue", "green", "red", "nir", "swir16", "swir22")
_CLOUD, _SHADOW = 1, 2
_WINDOW = 256
_THREADS = 2


def classify(reflectance: npt.NDArray[np.float32], no_data: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Classify cloud and shadow in the values of a scene classification (SCL).

    Args:
        reflectance: (6, height, width) float32, top-of-atmosphere reflectance 0…1 of `CLOUD_BANDS`.
        no_data: (height, width) bool, true where nothing was observed.

    Returns:
        (height, width) uint8: 0 no data, 3 cloud shadow, 9 cloud, 5 anything else.

    Raises:
        ConfigurationError: the extra `cloud` is not installed.
    """
    try:
        from ukis_csmask.mask import CSmask
    except ImportError as error:
        raise ConfigurationError(
            "scenes without a classification (L1C) need the cloud model: pip install 'earthsignature[cloud]'"
        ) from error
    height, width = no_data.shape
    margins = ((0, max(0, _WINDOW - height)), (0, max(0, _WINDOW - width)), (0, 0))
    image = np.pad(np.moveaxis(reflectance, 0, -1), margins, mode="symmetric")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = CSmask(
            np.ascontiguousarray(image, np.float32),
            list(_NAMES),
            product_level="l1c",
            providers=["CPUExecutionProvider"],
            intra_op_num_threads=_THREADS,
        ).csm[:height, :width, 0]
    classes = np.full((height, width), LAND_VALUE, np.uint8)
    classes[found == _CLOUD] = CLOUD_VALUES[1]
    classes[found == _SHADOW] = SHADOW_VALUES[0]
    classes[no_data] = OUTSIDE_VALUE
    return classes
