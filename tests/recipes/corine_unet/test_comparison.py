from typing import Any

import numpy as np
import pytest

from recipes.corine_unet.comparison import GROUPS, compared, patch_counts, polygon_counts, summed
from recipes.corine_unet.data import LabelledScene


def scene(polygons: int = 12) -> LabelledScene:
    """Create polygons of one row each, alternately forest and water; the last has no pixel."""
    numbers = np.repeat(np.arange(1, polygons + 1, dtype=np.uint16)[:, None], 8, axis=1)
    codes = tuple((313, 512)[number % 2] for number in range(polygons + 1))
    labels = tuple(("forest", "water")[number % 2] for number in range(polygons + 1))
    return LabelledScene("made", np.ones((10, polygons, 8), np.uint16), numbers, labels, codes, 0.0, 0.0)


def truth(land: LabelledScene) -> np.ndarray:
    return land.codes(range(1, len(land.labels) + 1))


def test_polygons_are_counted_over_the_classes_that_their_labels_support() -> None:
    land = scene()
    predicted = truth(land)
    predicted[0, :3] = 321
    counts = polygon_counts(land, range(1, 14), predicted)
    assert counts.names == GROUPS
    assert len(counts.blocks) == 12
    assert counts.total.total == 12 * 8
    forest, grassland = GROUPS.index("forest"), GROUPS.index("grassland")
    assert counts.counts[0, forest].tolist() == [5 if k == forest else 3 if k == grassland else 0 for k in range(5)]


def test_a_patch_counts_once_and_one_without_an_answer_not_at_all() -> None:
    answers: dict[str, dict[str, Any]] = {
        "a": {"code": 313, "predicted": 313, "right": 0.9},
        "b": {"code": 211, "predicted": 231, "right": 0.2},
        "c": {"code": 0, "predicted": 313, "right": None},
    }
    counts = patch_counts(answers)
    assert counts.blocks == ("a", "b")
    assert counts.total.overall_accuracy == 0.5


def test_equal_versions_do_not_differ_and_a_better_one_differs_significantly() -> None:
    land = scene(40)
    right = polygon_counts(land, range(1, 41), truth(land))
    wrong = truth(land)
    wrong[::4] = 231
    worse = polygon_counts(land, range(1, 41), wrong)
    same = compared(right, right)
    assert same["accuracy_difference"] == [0, 0, 0]
    assert same["mean_f1_p_value"] == 1
    better = compared(right, worse)
    assert better["blocks"] == 40
    assert better["accuracy_difference"][0] == pytest.approx(0.25)
    assert better["accuracy_difference"][1] > 0
    assert better["mean_f1_p_value"] < 0.01


def test_counts_of_several_networks_add_up_polygon_by_polygon() -> None:
    land = scene()
    one = polygon_counts(land, range(1, 13), truth(land))
    assert summed([one, one, one]).counts.tolist() == (3 * one.counts).tolist()


def test_counts_of_folds_with_other_polygons_are_combined() -> None:
    land = scene()
    whole = polygon_counts(land, range(1, 13), truth(land))
    parts = [polygon_counts(land, numbers, truth(land)) for numbers in (range(1, 5), range(5, 13))]
    assert summed(parts).blocks == whole.blocks
    assert summed(parts).counts.tolist() == whole.counts.tolist()
