"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

from earthsignature_assets.assets.trained_model import TrainingConfig, trained_model
from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import read_recipe
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository, PredictedClass
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.training.optimisation import Recipe
from earthsignature_assets.training.set_training import SetPlan, classes_of, train_on_set

RECIPE = """
name = "small"
chip = 16
cell_km = 0.2
seed = 3
shares = {shares}

[[images]]
bands = "."
level = "L2A"

[[truth]]
polygons = "truth.gpkg"
column = "class"
scheme = "mine.csv"
"""
SHARES = "{ train = 0.6, validation = 0.2, test = 0.2 }"
PLAN = SetPlan(Recipe(epochs=3, side=32, batch=4, patience=2, threads=1, learning_rate=1e-2), width=4, depth=2)


def build(scene: Any, folder: Path, shares: str = SHARES) -> TrainingSet:
    shapes = [
        (scene.area(0, 0, 64, 128), "wood"),
        (scene.area(64, 0, 128, 128), "field"),
        (scene.area(130, 0, 160, 128), "water"),
    ]
    scene.write_polygons("truth.gpkg", shapes, 3035)
    (scene.folder / "mine.csv").write_text("label,code,level,note\nwood,313,2,\nfield,211,2,\nwater,512,1,\n")
    (scene.folder / "recipe.toml").write_text(RECIPE.replace("{shares}", shares))
    return build_training_set(read_recipe(scene.folder / "recipe.toml"), [scene.image], folder)


def test_a_set_becomes_a_version_with_its_classes_at_their_known_levels(small_scene: Any, tmp_path: Path) -> None:
    training_set = build(small_scene, tmp_path / "sets" / "small")
    reports: list[tuple[int, int]] = []
    made = train_on_set(
        training_set, tmp_path / "models", ModelVersion("mine", 4), PLAN, lambda done, of: reports.append((done, of))
    )
    assert [(entry.code, entry.supported_level) for entry in made.description.classes] == [(211, 2), (313, 2), (512, 1)]
    assert made.description.training_set == training_set.identity
    assert made.description.training_range is not None
    repository = ModelRepository(tmp_path / "models")
    assert repository.versions() == [ModelVersion("mine", 4)]
    graph = Graph(repository.graph(ModelVersion("mine", 4)))
    index, _ = graph.run(training_set.reflectance(0)[None])
    assert set(np.unique(index)) <= {1, 2, 3}
    facts = json.loads((made.folder / "training.json").read_text())
    assert facts["identity"] == training_set.identity
    assert facts["epochs"] == len(facts["validation_accuracies"]) <= 3
    assert (made.folder / "learning_curves.png").stat().st_size > 5000
    assert (made.folder.parent / "config.pbtxt").is_file()
    assert reports[0] == (1, reports[0][1])
    assert not (tmp_path / "models" / ".training" / "mine-v4").exists()


def test_early_stopping_without_a_validation_split_is_refused(small_scene: Any, tmp_path: Path) -> None:
    training_set = build(small_scene, tmp_path / "sets" / "small", "{ train = 1.0, validation = 0.0, test = 0.0 }")
    assert training_set.numbers(Split.VALIDATION) == []
    with pytest.raises(GroundTruthError, match="no sample in the split validation: give it a share"):
        train_on_set(training_set, tmp_path / "models", ModelVersion("mine", 1), PLAN)
    assert not (tmp_path / "models" / "mine").exists()


def test_a_class_is_claimed_at_the_level_of_most_of_its_pixels(small_scene: Any, tmp_path: Path) -> None:
    classes = classes_of(build(small_scene, tmp_path / "sets" / "small"))
    assert all(isinstance(entry, PredictedClass) for entry in classes)
    assert classes[2].meaning.endswith("pixels")


def test_the_asset_trains_the_next_version_into_the_repository(small_scene: Any, tmp_path: Path) -> None:
    build(small_scene, tmp_path / "training_sets" / "small")
    result = dg.materialize(
        [trained_model],
        resources={
            "workspace": Workspace(home=str(tmp_path)),
            "engine": InferenceEngine(registered=str(tmp_path / "models"), threads=1),
        },
        run_config=dg.RunConfig(
            ops={"trained_model": TrainingConfig(name="mine", epochs=2, patience=1, width=4, depth=2, tile=32)}
        ),
    )
    assert result.success
    (event,) = result.asset_materializations_for_node("trained_model")
    assert event.metadata["model"].value == "mine-v1"
    assert str(event.metadata["learning_curves"].value).startswith("![picture](data:image/png")
    assert ModelRepository(tmp_path / "models").versions() == [ModelVersion("mine", 1)]
