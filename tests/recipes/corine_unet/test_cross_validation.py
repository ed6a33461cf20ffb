"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.training.network import Architecture
from earthsignature_assets.training.optimisation import Recipe
from recipes.corine_unet.cross_validation import Plan, TrainingData, folds_of, judge_folds, patch_answer
from recipes.corine_unet.data import LabelledScene
from recipes.corine_unet.training_pool import train_all
from tests.small_training import QUIET

BRIGHTNESS = {313: 3000, 512: 200}


def made_data() -> TrainingData:
    """Create eight patches at eight places, and eight polygons, of forest and water alternately."""
    patches = []
    for number in range(8):
        code = (313, 512)[number % 2]
        image = np.full((10, 32, 32), BRIGHTNESS[code], np.uint16)
        label, truth = ("Forest", "SeaLake")[number % 2], np.full((32, 32), code, np.uint16)
        patches.append(Sample(f"patch {number}", "EuroSAT", "L2A", label, image, truth, 3.0 * number, 45.0))
    numbers = np.zeros((40, 160), np.uint16)
    scene = np.full((10, 40, 160), 1000, np.uint16)
    for number in range(1, 9):
        columns = slice(20 * number - 16, 20 * number - 6)
        numbers[10:30, columns] = number
        scene[:, 10:30, columns] = BRIGHTNESS[(313, 512)[number % 2]]
    labels = tuple(("forest", "water")[number % 2] for number in range(1, 9))
    codes = tuple((313, 512)[number % 2] for number in range(1, 9))
    land = LabelledScene("made", scene, numbers, labels, codes, 0.0, 0.0)
    covers = np.zeros((9, 40, 160), np.float32)
    return TrainingData(tuple(patches), land, covers, (1, 2, 3, 4, 5, 6), (7, 8))


PLAN = Plan(
    Architecture(classes=8, width=4, depth=2, covers=9), Recipe(side=32, batch=4, learning_rate=1e-2),
    fold_epochs=40, folds=2, margin=8, processes=1,
)  # fmt: skip


def test_every_patch_and_polygon_is_held_out_once_and_invisible_to_its_network() -> None:
    data = made_data()
    folds = folds_of(data, PLAN, Path("there"))
    assert sorted(patch.name for fold in folds for patch in fold.patches) == sorted(one.name for one in data.patches)
    assert sorted(number for fold in folds for number in fold.polygons) == list(data.numbers)
    for fold in folds:
        shown = {sample.name for sample in fold.training.samples}
        assert not shown & {patch.name for patch in fold.patches}
        assert not shown & {f"made/{number}" for number in fold.polygons}
        assert len(shown) == 8 - len(fold.patches) + 8 - len(fold.polygons)
        for number in fold.polygons:
            inside = data.scene.polygons == number
            value = int(data.scene.reflectance[0][inside][0])
            labels = [sample for sample in fold.training.samples if sample.source == "Hațeg"]
            # Forest and water are as bright as nothing else, so a pixel of theirs without a label would be seen.
            assert all(((sample.reflectance[0] != value) | (sample.codes != 0)).all() for sample in labels)
    assert {str(fold.training.checkpoint) for fold in folds} == {"there/fold-1.pt", "there/fold-2.pt"}


def test_a_training_that_sees_no_polygon_is_evaluated_on_all_of_them() -> None:
    for fold in folds_of(made_data(), PLAN, polygons=False):
        assert fold.polygons == (1, 2, 3, 4, 5, 6, 7, 8)
        assert all(sample.source == "EuroSAT" for sample in fold.training.samples)


def test_folds_are_evaluated_on_their_held_out_parts() -> None:
    data = made_data()
    folds = folds_of(data, PLAN)
    networks = [trained.network for trained in train_all([fold.training for fold in folds], 1, QUIET)]
    patches, polygons = judge_folds(data, folds, networks, PLAN)
    assert patches["patches"]["total"] == 8
    assert patches["patches"]["overall_accuracy"] == 1
    assert set(patches["answers"]) == {patch.name for patch in data.patches}
    assert sorted(polygons["answers"]) == [str(number) for number in data.numbers]
    assert all(sum(pixels.values()) == 200 for pixels in polygons["answers"].values())
    assert polygons["total"] == 8 * 200
    assert polygons["overall_accuracy"] > 0.9


def test_a_patch_answers_with_its_most_frequent_code() -> None:
    patch = made_data().patches[0]
    predicted = np.full((32, 32), 313, np.uint16)
    predicted[:8] = 211
    assert patch_answer(patch, predicted) == {"code": 313, "predicted": 313, "right": 0.75}
