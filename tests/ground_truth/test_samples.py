from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.samples import (
    CLASSES,
    EUROSAT_CODES,
    HATEG_CODES,
    LabelledScene,
    Sample,
    polygon_folds,
    polygon_samples,
    read_eurosat,
    read_hateg,
    spatial_folds,
    split_polygons,
)
from earthsignature_assets.nomenclature import class_of

LABELS = ["construction"] * 27 + ["pasture"] * 15 + ["agriculture"] * 8 + ["forest"] * 6 + ["water"] * 3


def _sample(label: str, longitude: float, latitude: float) -> Sample:
    empty = np.zeros((1, 1), np.uint16)
    return Sample(label, "EuroSAT", "L1C", label, np.zeros((10, 1, 1), np.uint16), empty, longitude, latitude)


def test_every_label_maps_to_a_claimed_class_or_void() -> None:
    claimed = {class_of(entry.code).code for entry in CLASSES}
    assert {*EUROSAT_CODES.values(), *HATEG_CODES.values()} - {0} == claimed


def test_the_polygon_split_is_disjoint_complete_stratified_and_the_same_each_time() -> None:
    training, held_out = split_polygons(LABELS)
    assert not set(training) & set(held_out)
    assert sorted((*training, *held_out)) == list(range(1, 60))
    assert Counter(LABELS[number - 1] for number in held_out) == {
        "construction": 9,
        "pasture": 5,
        "agriculture": 3,
        "forest": 2,
        "water": 1,
    }
    assert split_polygons(LABELS) == (training, held_out)
    assert split_polygons(LABELS, seed=1) != (training, held_out)


def test_polygons_are_dealt_into_even_folds_label_by_label() -> None:
    folds = polygon_folds(LABELS, 4)
    assert folds == polygon_folds(LABELS, 4)
    assert folds != polygon_folds(LABELS, 4, seed=1)
    assert sorted(Counter(folds).values()) == [14, 15, 15, 15]
    for label in set(LABELS):
        dealt = Counter(fold for fold, other in zip(folds, LABELS, strict=True) if other == label)
        assert max(dealt.values()) - min(dealt.get(fold, 0) for fold in range(4)) <= 1


def test_near_patches_share_a_fold_and_folds_are_balanced() -> None:
    generator = np.random.default_rng(3)
    places = generator.uniform((-8, 36), (32, 62), (40, 2))
    samples = [
        _sample(label, *(place + generator.normal(0, 0.05, 2))) for place in places for label in ("Forest", "River")
    ]
    folds = spatial_folds(samples, 4)
    assert folds == spatial_folds(samples, 4)
    assert max(Counter(folds).values()) - min(Counter(folds).values()) <= 4
    for one, other in combinations(range(len(samples)), 2):
        north = np.radians(samples[one].latitude - samples[other].latitude)
        cosine = np.cos(np.radians(samples[one].latitude))
        east = np.radians(samples[one].longitude - samples[other].longitude) * cosine
        if 6371 * np.hypot(north, east) < 45:
            assert folds[one] == folds[other]


def test_a_chain_of_near_patches_stays_together() -> None:
    samples = [_sample("Forest", 10 + 0.5 * step, 45) for step in range(6)] + [_sample("Forest", 30, 60)]
    folds = spatial_folds(samples, 2)
    assert len(set(folds[:6])) == 1
    assert folds[6] != folds[0]


def _scene() -> LabelledScene:
    polygons = np.zeros((60, 80), np.uint16)
    polygons[5:15, 5:15] = 1
    polygons[5:15, 18:28] = 2
    polygons[40:50, 60:70] = 3
    reflectance = np.full((10, 60, 80), 1000, np.uint16)
    return LabelledScene("scene", reflectance, polygons, ("forest", "water", "forest"), (313, 512, 313), 23.0, 45.9)


def test_polygon_samples_hold_nothing_of_the_held_out_polygons() -> None:
    samples = polygon_samples(_scene(), (1, 3))
    assert [sample.label for sample in samples] == ["forest", "forest"]
    first = samples[0]
    assert np.unique(first.codes).tolist() == [0, 313]
    assert (first.reflectance[:, 5:15, 18:28] == 0).all()
    assert np.count_nonzero(first.reflectance[0] == 0) == 100


def test_codes_are_those_of_the_polygons_asked_for() -> None:
    codes = _scene().codes((2,))
    assert np.unique(codes).tolist() == [0, 512]
    assert np.count_nonzero(codes) == 100


def test_a_folder_without_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="no EuroSAT patch"):
        read_eurosat(tmp_path)


def test_a_patch_with_other_bands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Forest").mkdir()
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 3, "dtype": "uint16", "crs": "EPSG:32634"}
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 5000000)
    with rasterio.open(tmp_path / "Forest" / "Forest_1.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(np.ones((3, 4, 4), np.uint16))
    with pytest.raises(GroundTruthError, match="expected 13 bands"):
        read_eurosat(tmp_path)


def test_b8a_is_taken_from_the_last_band(tmp_path: Path) -> None:
    (tmp_path / "River").mkdir()
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 13, "dtype": "uint16", "crs": "EPSG:32634"}
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 5000000)
    with rasterio.open(tmp_path / "River" / "River_1.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(np.arange(1, 14, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16))
    (sample,) = read_eurosat(tmp_path)
    assert sample.reflectance[:, 0, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 13, 11, 12]
    assert (sample.codes == 512).all()


def test_a_scene_without_bands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="cannot be read"):
        read_hateg(tmp_path)


def test_the_real_patches_split_by_place(eurosat_folder: Path) -> None:
    samples = read_eurosat(eurosat_folder)
    assert len(samples) == 200
    folds = spatial_folds(samples, 4)
    per_fold = Counter(zip(folds, (sample.label for sample in samples), strict=True))
    assert min(per_fold.values()) >= 3
    assert len(per_fold) == 40


def test_the_real_scene_has_its_polygons(hateg_folder: Path) -> None:
    scene = read_hateg(hateg_folder)
    assert scene.reflectance.shape == (10, 907, 797)
    assert (scene.reflectance > 0).all()
    assert len(scene.labels) == 59
    sizes = Counter()
    for number, label in enumerate(scene.labels, 1):
        sizes[label] += int((scene.polygons == number).sum())
    assert sizes == {"construction": 3958, "pasture": 3411, "agriculture": 6531, "forest": 5374, "water": 1669}
