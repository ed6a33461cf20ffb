from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np

from earthsignature_assets.ground_truth.samples import Sample
from recipes.corine_unet.data import read_eurosat
from recipes.corine_unet.folds import polygon_folds, spatial_folds, split_polygons

LABELS = ["construction"] * 27 + ["pasture"] * 15 + ["agriculture"] * 8 + ["forest"] * 6 + ["water"] * 3


def _sample(label: str, longitude: float, latitude: float) -> Sample:
    empty = np.zeros((1, 1), np.uint16)
    return Sample(label, "EuroSAT", "L1C", label, np.zeros((10, 1, 1), np.uint16), empty, longitude, latitude)


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


def test_the_real_patches_split_by_place(eurosat_folder: Path) -> None:
    samples = read_eurosat(eurosat_folder)
    assert len(samples) == 200
    folds = spatial_folds(samples, 4)
    per_fold = Counter(zip(folds, (sample.label for sample in samples), strict=True))
    assert min(per_fold.values()) >= 3
    assert len(per_fold) == 40
