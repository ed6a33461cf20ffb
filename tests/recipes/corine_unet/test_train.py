"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

from earthsignature_assets.errors import TrainingError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository
from recipes.corine_unet.train import outcome, train_version
from tests.recipes.corine_unet.test_cross_validation import PLAN, made_data
from tests.small_training import QUIET

MODEL = ModelVersion("corine-unet", 7)
SHORT = replace(PLAN, recipe=replace(PLAN.recipe, epochs=2), fold_epochs=2, teachers=1)


def test_a_version_is_trained_evaluated_described_and_published_whole(tmp_path: Path) -> None:
    evaluation = train_version(made_data(), tmp_path, MODEL, SHORT, QUIET)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".training"] == ["corine-unet"]
    assert not list(tmp_path.glob(".training/*"))
    repository = ModelRepository(tmp_path)
    assert repository.versions() == [MODEL]
    repository.graph(MODEL)
    folder = repository.folder(MODEL)
    names = ["card.md", "evaluation.json", "evaluation.png", "learning_curves.png", "model.json", "model.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder.parent / "config.pbtxt").is_file()
    assert json.loads((folder / "evaluation.json").read_text(encoding="utf-8")) == evaluation
    assert set(outcome(evaluation)) == {"eurosat_held_out_patches", "hateg_held_out_pixels"}
    assert evaluation["training"]["samples"] == 8 + 6
    assert evaluation["hateg"]["held_out_polygons"] == [7, 8]
    assert len(evaluation["hateg_folds"]["answers"]) == 8
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "the mean of 1 networks" in card
    assert "folds of polygons" in card
    described = (folder / "model.json").read_bytes()
    # A second training replaces the version with the same graph.
    train_version(made_data(), tmp_path, MODEL, SHORT, QUIET)
    assert (folder / "model.json").read_bytes() == described
    assert not list(tmp_path.glob(".staged-*"))


def test_a_training_that_fails_leaves_no_version(tmp_path: Path) -> None:
    broken = replace(SHORT, recipe=replace(SHORT.recipe, learning_rate=1e30))
    with pytest.raises(TrainingError, match="the loss became nan"):
        train_version(made_data(), tmp_path, MODEL, broken, QUIET)
    assert ModelRepository(tmp_path).versions() == []


def test_with_patience_the_first_fold_is_the_validation_region(tmp_path: Path) -> None:
    patient = replace(SHORT, recipe=replace(SHORT.recipe, patience=1), teachers=0)
    evaluation = train_version(made_data(), tmp_path, MODEL, patient, QUIET)
    assert evaluation["training"]["samples"] == 4 + 6
    assert "the mean of" not in evaluation["training"]["notes"]
