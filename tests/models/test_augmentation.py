import numpy as np
import pytest

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.models.augmentation import PATH_RADIANCE, TileMaker, as_surface, as_typical_surface
from earthsignature_assets.models.ground_truth import Sample


def _sample(code: int, level: str, value: int, side: int = 64, source: str = "EuroSAT") -> Sample:
    reflectance = np.full((10, side, side), value, np.uint16)
    codes = np.full((side, side), code, np.uint16)
    return Sample(f"{code}", source, level, f"{code}", reflectance, codes, 0.0, 0.0)


def test_surface_reflectance_loses_path_radiance_but_never_goes_dark() -> None:
    bright = as_typical_surface(_sample(313, "L1C", 2000))
    assert bright[:, 0, 0].tolist() == (2000 - PATH_RADIANCE).astype(int).tolist()
    dark = as_surface(_sample(512, "L1C", 20), np.random.default_rng(0))
    assert dark.min() >= 1
    same = as_surface(_sample(313, "L2A", 1234), np.random.default_rng(0))
    assert (same == 1234).all()


def test_tiles_are_the_same_for_one_seed_and_differ_for_another() -> None:
    samples = [_sample(313, "L1C", 2000), _sample(512, "L2A", 200)]
    one, again, other = (TileMaker(samples, 96, np.random.default_rng(seed)).tile() for seed in (5, 5, 6))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one[0], other[0])


def test_tiles_mix_classes_in_balance_and_keep_labels_on_their_pixels() -> None:
    # One patch of water against nine of forest, far apart in brightness: each pixel's code must follow its value.
    samples = [_sample(313, "L2A", 6000)] * 9 + [_sample(512, "L2A", 100)]
    maker = TileMaker(samples, 96, np.random.default_rng(1))
    tiles = [maker.tile() for _ in range(60)]
    codes = np.stack([codes for _, codes, _ in tiles])
    bright = np.stack([reflectance[6] for reflectance, _, _ in tiles]) > 2500
    np.testing.assert_array_equal(bright[codes == 313], True)
    np.testing.assert_array_equal(bright[codes == 512], False)
    assert 0.35 < (codes == 512).mean() / (codes != 0).mean() < 0.65
    assert any(len(np.unique(one[one > 0])) == 2 for one in codes)


def test_no_data_stays_no_data_and_is_void() -> None:
    sample = _sample(313, "L1C", 2000)
    sample.reflectance[:, :20] = 0
    maker = TileMaker([sample], 96, np.random.default_rng(2))
    for reflectance, codes, _ in (maker.tile() for _ in range(20)):
        absent = (reflectance == 0).all(axis=0)
        assert absent.any()
        assert (codes[absent] == 0).all()
        assert (reflectance[:, ~absent] >= 1).all()


def test_few_labelled_pixels_weigh_more() -> None:
    sample = _sample(313, "L2A", 2000)
    sample.codes[10:, :] = 0
    maker = TileMaker([sample], 96, np.random.default_rng(2))
    assert max(float(weights.max()) for _, _, weights in (maker.tile() for _ in range(10))) > 3
    even = TileMaker([_sample(313, "L2A", 2000)], 96, np.random.default_rng(2))
    assert {float(weights.max()) for _, _, weights in (even.tile() for _ in range(5))} == {1.0}


def test_samples_without_labels_are_refused() -> None:
    with pytest.raises(GroundTruthError, match="nothing to train on"):
        TileMaker([_sample(0, "L2A", 100)], 96, np.random.default_rng(0))
