from dataclasses import replace

import numpy as np
import pytest

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.samples import Sample, class_set
from earthsignature_assets.training.augmentation import (
    PATH_RADIANCE,
    WEAK_WEIGHT,
    Atmosphere,
    TileMaker,
    as_surface,
    as_typical_surface,
    in_another_season,
)

CODES = (112, 121, 211, 222, 231, 313, 321, 512)


def _sample(code: int, level: str, value: int, side: int = 64, source: str = "EuroSAT") -> Sample:
    reflectance = np.full((10, side, side), value, np.uint16)
    codes = np.full((side, side), code, np.uint16)
    return Sample(f"{code}", source, level, f"{code}", reflectance, codes, 0.0, 0.0)


def test_surface_reflectance_loses_path_radiance_but_never_goes_dark() -> None:
    bright = as_typical_surface(_sample(313, "L1C", 2000))
    assert bright[:, 0, 0].tolist() == (2000 - PATH_RADIANCE).astype(int).tolist()
    dark = as_surface(_sample(512, "L1C", 20), np.random.default_rng(0))
    assert dark.min() >= 1
    surfaces = [as_surface(_sample(313, "L2A", 1234), np.random.default_rng(seed)) for seed in range(10)]
    unchanged = [(surface == 1234).all() for surface in surfaces]
    assert any(unchanged)
    assert not all(unchanged)
    assert all(800 < surface.mean() < 1700 for surface in surfaces)


def test_a_share_of_level_1c_keeps_much_of_its_path_radiance() -> None:
    sample = _sample(313, "L1C", 4000)
    blue = {
        share: np.array([as_surface(sample, np.random.default_rng(seed), share)[0, 0, 0] for seed in range(200)])
        for share in (0.0, 0.25, 1.0)
    }
    # Divided by a transmittance of 0.78 to 0.95, what is left of 550 to either side of a share of 0.6.
    assert blue[0.0].max() < (4000 - 0.5 * 550) / 0.78
    assert blue[0.0].mean() < blue[0.25].mean() < blue[1.0].mean()
    assert (blue[1.0] > (4000 - 0.66 * 550)).all()


def test_a_label_s_second_meaning_stays_on_its_pixels() -> None:
    samples = [replace(_sample(121, "L2A", 6000), also={121: 112}), _sample(512, "L2A", 100)]
    maker = TileMaker(samples, CODES, 96, np.random.default_rng(4))
    for tile in (maker.tile() for _ in range(20)):
        expected = np.select(
            [tile.codes == 121, tile.codes == 512], [class_set(121, 112, among=CODES), class_set(512, among=CODES)], 0
        )
        np.testing.assert_array_equal(tile.allowed, expected)


def test_tiles_are_the_same_for_one_seed_and_differ_for_another() -> None:
    samples = [_sample(313, "L1C", 2000), _sample(512, "L2A", 200)]
    one, again, other = (TileMaker(samples, CODES, 96, np.random.default_rng(seed)).tile() for seed in (5, 5, 6))
    for name in ("reflectance", "codes", "allowed", "weights", "covers", "soft_labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.reflectance, other.reflectance)


def test_tiles_mix_classes_in_balance_and_keep_labels_on_their_pixels() -> None:
    # One patch of water against nine of forest, far apart in brightness: each pixel's code must follow its value.
    samples = [_sample(313, "L2A", 6000)] * 9 + [_sample(512, "L2A", 100)]
    maker = TileMaker(samples, CODES, 96, np.random.default_rng(1))
    tiles = [maker.tile() for _ in range(60)]
    codes = np.stack([tile.codes for tile in tiles])
    bright = np.stack([tile.reflectance[6] for tile in tiles]) > 2500
    np.testing.assert_array_equal(bright[codes == 313], True)
    np.testing.assert_array_equal(bright[codes == 512], False)
    assert 0.35 < (codes == 512).mean() / (codes != 0).mean() < 0.65
    assert any(len(np.unique(one[one > 0])) == 2 for one in codes)


def test_no_data_stays_no_data_and_is_void() -> None:
    sample = _sample(313, "L1C", 2000)
    sample.reflectance[:, :20] = 0
    maker = TileMaker([sample], CODES, 96, np.random.default_rng(2))
    for tile in (maker.tile() for _ in range(20)):
        absent = (tile.reflectance == 0).all(axis=0)
        assert absent.any()
        assert (tile.codes[absent] == 0).all()
        assert (tile.reflectance[:, ~absent] >= 1).all()


def test_few_labelled_pixels_weigh_more() -> None:
    sample = _sample(313, "L2A", 2000)
    sample.codes[10:, :] = 0
    maker = TileMaker([sample], CODES, 96, np.random.default_rng(2))
    assert max(float(maker.tile().weights.max()) for _ in range(10)) > 3
    even = TileMaker([_sample(313, "L2A", 2000)], CODES, 96, np.random.default_rng(2))
    assert {float(even.tile().weights.max()) for _ in range(5)} == {1.0}


def test_pixels_labelled_by_the_teacher_alone_weigh_less() -> None:
    sample = _sample(313, "L2A", 2000)
    sample.codes[32:] = 0
    weak = np.zeros((64, 64), np.uint64)
    weak[48:] = class_set(222, 313, among=CODES)
    tile = TileMaker([replace(sample, weak=weak)], CODES, 64, np.random.default_rng(3)).tile()
    of_teacher = (tile.codes == 0) & (tile.allowed > 0)
    assert of_teacher.any()
    assert (tile.allowed[of_teacher] == class_set(222, 313, among=CODES)).all()
    assert (tile.weights[of_teacher] == WEAK_WEIGHT).all()
    assert (tile.weights[tile.codes > 0] >= 1).all()


def test_covers_stay_on_their_pixels_and_are_zero_without_a_teacher() -> None:
    forest, water = _sample(313, "L2A", 6000), _sample(512, "L2A", 100)
    taught = np.zeros((3, 64, 64), np.float32)
    taught[1] = 0.75
    taught[2] = 0.25
    maker = TileMaker([replace(forest, covers=taught), water], CODES, 96, np.random.default_rng(5), covers=3)
    tiles = [maker.tile() for _ in range(20)]
    codes, covers = np.stack([tile.codes for tile in tiles]), np.stack([tile.covers for tile in tiles], axis=1)
    assert (codes == 313).any()
    assert (codes == 512).any()
    assert (covers[:, codes == 313] == np.array([[0], [0.75], [0.25]])).all()
    assert not covers[:, codes != 313].any()


def test_soft_labels_stay_on_their_pixels_next_to_the_covers() -> None:
    sample = _sample(313, "L2A", 2000, side=120)
    bright = np.zeros((120, 120), bool)
    bright[30:90, 40:70] = True
    sample.reflectance[:, bright] = 6000
    soft, covers = np.zeros((8, 120, 120), np.float32), np.zeros((3, 120, 120), np.float32)
    soft[5], soft[7], covers[1] = ~bright, bright, bright
    taught = replace(sample, soft_labels=soft, covers=covers)
    maker = TileMaker(
        [taught, _sample(512, "L2A", 100)],
        CODES,
        96,
        np.random.default_rng(5),
        Atmosphere(0, 0, 0, 0, 0, 0, 0),
        covers=3,
    )
    tiles = [maker.tile() for _ in range(20)]
    image, codes = np.stack([tile.reflectance[6] for tile in tiles]), np.stack([tile.codes for tile in tiles])
    soft, covers = (np.stack([getattr(tile, name) for tile in tiles], axis=1) for name in ("soft_labels", "covers"))
    assert soft.shape[0] == 8
    assert covers.shape[0] == 3
    lit = (codes == 313) & (image > 4000)
    assert lit.any()
    assert (soft[7] == lit).all()
    assert (covers[1] == lit).all()
    assert (soft[5] == ((codes == 313) & ~lit)).all()
    assert not soft[:, codes == 512].any()


def test_covers_leave_the_rest_of_a_tile_unchanged() -> None:
    sample = _sample(313, "L1C", 2000)
    sample.reflectance[:, :20] += np.arange(20, dtype=np.uint16)[:, None]
    taught = replace(sample, covers=np.full((3, 64, 64), 1 / 3, np.float32))
    without = TileMaker([sample], CODES, 96, np.random.default_rng(5)).tile()
    with_covers = TileMaker([taught], CODES, 96, np.random.default_rng(5), covers=3).tile()
    np.testing.assert_array_equal(with_covers.reflectance, without.reflectance)
    np.testing.assert_array_equal(with_covers.codes, without.codes)


def test_without_variation_a_tile_of_level_2a_keeps_its_reflectance() -> None:
    maker = TileMaker([_sample(313, "L2A", 2000)], CODES, 64, np.random.default_rng(0), Atmosphere(0, 0, 0, 0, 0, 0, 0))
    assert any((maker.tile().reflectance == 2000).all() for _ in range(10))


def test_another_season_changes_plants_and_nothing_else() -> None:
    forest = np.array([283, 372, 233, 558, 1867, 2431, 2467, 2743, 1287, 505], np.float32)[:, None, None]
    bare = np.array([800, 1000, 1400, 1600, 1800, 1900, 2000, 2100, 2900, 2500], np.float32)[:, None, None]
    no_data = np.zeros_like(bare)
    land = np.concatenate([forest, bare, no_data], axis=2)
    seasons = np.stack([in_another_season(land, np.random.default_rng(seed)) for seed in range(40)])
    np.testing.assert_array_equal(seasons[:, :, 0, 1:], np.broadcast_to(land[:, 0, 1:], (40, 10, 2)))
    turned = seasons[:, :, 0, 0] / forest[:, 0, 0]
    assert turned[:, 2].max() > 1.8
    assert turned[:, 2].min() < 0.85
    # Red and short-wave infrared rise as the near infrared falls.
    assert np.corrcoef(turned[:, 2], turned[:, 9])[0, 1] > 0.6
    assert np.corrcoef(turned[:, 2], turned[:, 6])[0, 1] < -0.5


def test_samples_without_labels_are_refused() -> None:
    with pytest.raises(GroundTruthError, match="nothing to train on"):
        TileMaker([_sample(0, "L2A", 100)], CODES, 96, np.random.default_rng(0))
