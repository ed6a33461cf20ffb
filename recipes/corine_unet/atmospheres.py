"""Atmospheres of the evaluation and the ablation of the shipped model."""

import numpy as np
import numpy.typing as npt

from earthsignature_assets.training.augmentation import PATH_RADIANCE, Atmosphere

AS_VERSION_1 = Atmosphere(0.14, 0.06, 0.25, 25.0, 8.0, 0.015, 0.0)
"""The spread in the training of version 1, and of the other atmospheres in the evaluation of every version."""

STILL = Atmosphere(0, 0, 0, 0, 0, 0, 0)
"""No variation, for the ablation."""


def as_typical_top(reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Add typical path radiance to surface reflectance, (10, height, width) uint16: approximates level-1C."""
    hazy = reflectance + PATH_RADIANCE[:, None, None].astype(np.uint16)
    return np.where(reflectance.max(axis=0) > 0, hazy, np.uint16(0))


def under_one_deviation(image: npt.NDArray[np.uint16], seed: int) -> npt.NDArray[np.uint16]:
    """Return an image, (10, height, width) uint16, under an atmosphere one standard deviation away, for evaluation.

    Gain, offset and path radiance of each band deviate to either side by the spread of `AS_VERSION_1`, for every
    version.
    """
    generator, drawn = np.random.default_rng(seed), AS_VERSION_1
    signs = generator.choice([-1.0, 1.0], 12)
    gain = np.exp(signs[0] * drawn.gain + generator.choice([-1.0, 1.0], 10) * drawn.band_gain)
    offset = signs[1] * drawn.path_radiance * PATH_RADIANCE + signs[2:] * drawn.offset
    shifted: npt.NDArray[np.uint16]
    shifted = np.clip(image * gain[:, None, None] + offset[:, None, None], 1, 65535).astype(np.uint16)
    return np.where(image.max(axis=0) > 0, shifted, np.uint16(0))
