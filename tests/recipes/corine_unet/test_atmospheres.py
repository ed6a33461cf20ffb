import numpy as np

from earthsignature_assets.training.augmentation import PATH_RADIANCE
from recipes.corine_unet.atmospheres import AS_VERSION_1, as_typical_top, under_one_deviation


def test_the_atmospheres_of_the_evaluation_have_the_spread_of_version_1_and_repeat() -> None:
    image = np.full((10, 8, 8), 2000, np.uint16)
    one, again, other = (under_one_deviation(image, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    wide = AS_VERSION_1
    gain = np.exp(wide.gain + wide.band_gain)
    most = 2000 * gain + wide.path_radiance * PATH_RADIANCE + wide.offset
    assert (one[:, 0, 0] <= most).all()
    assert np.ptp(one[:, 0, 0]) > wide.offset


def test_the_top_of_the_atmosphere_is_the_surface_under_path_radiance() -> None:
    surface = np.full((10, 64, 64), 2000, np.uint16)
    surface[:, 0] = 0
    top = as_typical_top(surface)
    assert top.dtype == np.uint16
    assert not top[:, 0].any()
    np.testing.assert_array_equal(top[:, 1, 1], 2000 + PATH_RADIANCE)
