"""Atmospheres that the shipped model is judged under, and those of its ablation."""

import numpy as np
import numpy.typing as npt

from earthsignature_assets.training.augmentation import PATH_RADIANCE, Atmosphere

AS_VERSION_1 = Atmosphere(0.14, 0.06, 0.25, 25.0, 8.0, 0.015, 0.0)
"""What version 1 was trained with, and how wide the other atmospheres are that every version is judged under."""

STILL = Atmosphere(0, 0, 0, 0, 0, 0, 0)
"""No variation at all: what the ablation trains without."""


def as_typical_top(reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return surface reflectance with typical path radiance, (10, height, width) uint16: about level-1C."""
    hazy = reflectance + PATH_RADIANCE[:, None, None].astype(np.uint16)
    return np.where(reflectance.max(axis=0) > 0, hazy, np.uint16(0))


def under_one_deviation(image: npt.NDArray[np.uint16], seed: int) -> npt.NDArray[np.uint16]:
    """Return an image, (10, height, width) uint16, under an atmosphere one standard deviation away, for judging.

    Gain, offset and path radiance of each band lie as far to either side as `AS_VERSION_1` draws them, whatever a
    version was trained with.
    """
    generator, drawn = np.random.default_rng(seed), AS_VERSION_1
    signs = generator.choice([-1.0, 1.0], 12)
    gain = np.exp(signs[0] * drawn.gain + generator.choice([-1.0, 1.0], 10) * drawn.band_gain)
    offset = signs[1] * drawn.path_radiance * PATH_RADIANCE + signs[2:] * drawn.offset
    shifted: npt.NDArray[np.uint16]
    shifted = np.clip(image * gain[:, None, None] + offset[:, None, None], 1, 65535).astype(np.uint16)
    return np.where(image.max(axis=0) > 0, shifted, np.uint16(0))
