from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from earthsignature_assets.errors import GroundTruthError, ModelError
from earthsignature_assets.ground_truth.label_scheme import LabelScheme, Statement
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import TrainingSetRecipe
from earthsignature_assets.ground_truth.truth_sources import Polygons
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.training.quantisation import agreement, quantise, quantise_version
from recipes.corine_unet.training_set import training_set as training_set_of

V1, INT8 = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 3)


def small_set(scene: Any, folder: Path, shares: dict[Split, float]) -> TrainingSet:
    shapes = [(scene.area(0, 0, 64, 128), "wood"), (scene.area(64, 0, 128, 128), "field")]
    scheme = LabelScheme("mine", {"wood": Statement(313), "field": Statement(211)}, {})
    truth = Polygons(scene.write_polygons("truth.gpkg", shapes), "mine", "class", scheme)
    recipe = TrainingSetRecipe("small", truth=(truth,), chip=20, cell_km=0.2, shares=shares)
    return build_training_set(recipe, [scene.image], folder)


def test_any_training_set_quantises_a_version(small_scene: Any, tmp_path: Path) -> None:
    shares = {Split.TRAIN: 0.5, Split.VALIDATION: 0.25, Split.TEST: 0.25}
    training_set = small_set(small_scene, tmp_path / "set", shares)
    figures = quantise_version(shipped_repository(), V1, INT8.version, training_set, tmp_path / "models")
    assert figures.model == INT8
    assert figures.calibration_images == len(training_set.numbers(Split.TRAIN))
    assert set(figures.agreement) == {Split.VALIDATION, Split.TEST}
    assert all(0.8 < share <= 1 for share in figures.agreement.values())
    assert min(figures.cpu_seconds, figures.source_cpu_seconds) > 0
    repository = ModelRepository(tmp_path / "models")
    description, source = repository.describe(INT8), shipped_repository().describe(V1)
    assert replace(description, model=V1, sha256=source.sha256) == source
    assert description.sha256 != source.sha256
    kinds = [node.op_type for node in onnx.load(repository.graph(INT8)).graph.node]
    assert "QuantizeLinear" in kinds
    assert repository.graph(INT8).stat().st_size < 0.4 * shipped_repository().graph(V1).stat().st_size
    assert EmbeddedEngine(repository, INT8).segment(np.full((1, 10, 64, 64), 900, np.uint16)).class_index.min() >= 1
    card = (repository.folder(INT8) / "card.md").read_text(encoding="utf-8")
    assert f"{figures.agreement[Split.TEST]:.2%} of the pixels of the split `test`" in card
    assert training_set.identity in card
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["corine-unet"]
    with pytest.raises(ModelError, match="corine-unet-v3 exists"):
        quantise_version(shipped_repository(), V1, INT8.version, training_set, tmp_path / "models")


def test_an_empty_split_is_refused_with_the_remedy(small_scene: Any, tmp_path: Path) -> None:
    training_set = small_set(small_scene, tmp_path / "set", {Split.TRAIN: 1.0})
    with pytest.raises(GroundTruthError, match="no sample in the split validation or test: give it a share"):
        quantise_version(shipped_repository(), V1, INT8.version, training_set, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_the_shipped_version_agrees_on_its_own_held_out_data(
    hateg_folder: Path, eurosat_folder: Path, tmp_path: Path
) -> None:
    training_set = training_set_of(eurosat_folder.parent, tmp_path / "set")
    assert set(training_set.samples["image"]) == {hateg_folder.name, eurosat_folder.name}
    figures = quantise_version(shipped_repository(), V1, INT8.version, training_set, tmp_path / "models")
    assert 0.98 < figures.agreement[Split.TEST] < 1


def test_a_version_is_never_overwritten_by_its_int8_twin(small_scene: Any, tmp_path: Path) -> None:
    training_set = small_set(small_scene, tmp_path / "set", {Split.TRAIN: 0.5, Split.TEST: 0.5})
    with pytest.raises(ModelError, match="corine-unet-v1 exists"):
        quantise_version(shipped_repository(), V1, 1, training_set, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_graph_agrees_with_itself_and_less_with_a_coarse_copy(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    images = [random.integers(1, 5000, (10, 64, 64)).astype(np.uint16) for _ in range(2)]
    source = shipped_repository().graph(V1)
    whole = Graph(source)
    assert agreement(whole, whole, images, 8) == 1
    # Ranges from one dark image saturate on brighter ones.
    quantise(source, tmp_path / "coarse.onnx", [np.full((10, 64, 64), 5, np.uint16)])
    assert agreement(whole, Graph(tmp_path / "coarse.onnx"), images, 8) < 0.9
