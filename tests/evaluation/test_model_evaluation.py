"""The shipped network evaluated on small sets, alone and against worse versions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from PIL import Image

from earthsignature_assets.errors import GroundTruthError, ModelError
from earthsignature_assets.evaluation.evaluation_report import evaluate_version
from earthsignature_assets.evaluation.evaluation_table import Scheme, block_counts
from earthsignature_assets.evaluation.model_evaluation import answer, independence
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import read_recipe
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository, shipped_repository

V1, WORSE = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 7)
RECIPE = """
name = "small"
chip = 32
cell_km = 0.2
shares = { train = 0.3, test = 0.7 }
[[images]]
bands = "."
level = "L2A"
region = "Nowhere"
[[truth]]
polygons = "truth.gpkg"
column = "class"
scheme = "mine.csv"
"""


@pytest.fixture(scope="module")
def held_out(new_scene: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    scene = new_scene(tmp_path_factory.mktemp("evaluation") / "scene")
    shapes = [
        (scene.area(0, 0, 64, 128), "wood"),
        (scene.area(64, 0, 128, 128), "field"),
        (scene.area(128, 0, 160, 128), "water"),
    ]
    scene.write_polygons("truth.gpkg", shapes)
    (scene.folder / "mine.csv").write_text("label,code,level\nwood,313,2\nfield,211,2\nwater,512,1\n")
    (scene.folder / "recipe.toml").write_text(RECIPE)
    recipe = read_recipe(scene.folder / "recipe.toml")
    return build_training_set(recipe, [scene.image], scene.folder.parent / "small")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Return the shipped version and a copy with a rotated class table: equal answers under other names."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(shipped_repository().root / "corine-unet", root / "corine-unet")
    worse = root / "corine-unet" / "7"
    shutil.copytree(root / "corine-unet" / "1", worse)
    content = json.loads((worse / "model.json").read_text())
    classes = content["classes"]
    content |= {"version": 7, "classes": [*classes[3:], *classes[:3]]}
    (worse / "model.json").write_text(json.dumps(content))
    return ModelRepository(root)


def test_answers_are_those_of_the_graph_on_the_held_out_samples(
    repository: ModelRepository, held_out: TrainingSet
) -> None:
    seen: list[tuple[int, int]] = []
    answers = answer(repository, V1, held_out, progress=lambda done, of: seen.append((done, of)))
    numbers = held_out.numbers(Split.TEST)
    assert seen[-1] == (len(numbers), len(numbers))
    names = set(held_out.samples.iloc[numbers]["name"])
    assert set(answers.table["sample"]) == names
    assert answers.table["pixels"].sum() == held_out.samples.iloc[numbers]["labelled_pixels"].sum()
    assert answers.unanswered == answers.brought_down == 0
    assert set(answers.table["predicted"]) <= set(answers.description.class_codes)


def test_a_better_version_is_promoted_with_page_picture_and_answers(
    repository: ModelRepository, held_out: TrainingSet, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluations" / str(V1)
    evaluation = evaluate_version(repository, V1, WORSE, held_out, Split.TEST, folder)
    assert evaluation.verdict.promote
    figures = json.loads((folder / "evaluation.json").read_text())
    assert figures["verdict"] == {"promote": True, "reason": evaluation.verdict.reason}
    assert figures["set"]["identity"] == held_out.identity
    assert figures["paired_test"]["mean_f1"]["low"] > 0
    assert set(figures["levels"]) == {"1", "2", "3"}
    assert figures["levels"]["3"]["pixels"] == 0, "no label goes to level 3"
    assert 512 in figures["levels"]["2"]["unclaimed_codes"]
    assert list(figures["regions"]) == ["Nowhere"]
    table = pd.read_parquet(folder / "answers.parquet")
    matrix = block_counts(table, Scheme.AS_LABELLED).total
    assert matrix.counts.tolist() == figures["as_labelled"]["counts"], "the kept answers give the figures again"
    with Image.open(folder / "evaluation.png") as picture:
        colours = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(77, 255, 0), (255, 255, 168), (128, 242, 230)} <= colours, "official colours of 313, 211, 512"
    page = (folder / "evaluation.md").read_text()
    for part in (
        "**Promote**",
        "Compared with corine-unet-v7",
        "CORINE level 1",
        "Confidence",
        "Nowhere",
        "evaluation.png",
    ):
        assert part in page
    assert [path.name for path in folder.parent.iterdir()] == [str(V1)]


def test_a_first_version_must_beat_the_commonest_class_and_its_card_lists_the_limits(
    repository: ModelRepository, held_out: TrainingSet, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    evaluation = evaluate_version(repository, WORSE, WORSE, held_out, Split.TEST, folder)
    assert evaluation.test is None, "a version is not compared with itself"
    assert not evaluation.verdict.promote
    assert "not better than a constant prediction of the commonest class" in evaluation.verdict.reason
    card = (folder / "card.md").read_text()
    assert "| 313 | 31x Forests |" in card
    assert "Not predicted" in card
    assert "335 Glaciers and perpetual snow" in card
    assert "512 (to level 1)" in card
    assert "F1 below 0.5: 21x, 31x" in card
    assert "because no held-out label has them: 222, 231, 321" in card.replace("112, 121, ", "")
    assert repository.describe(WORSE).sha256 in card
    assert held_out.identity in card
    assert "truth.gpkg, by the scheme mine: licence not stated" in card


def test_a_worse_version_is_held(repository: ModelRepository, held_out: TrainingSet, tmp_path: Path) -> None:
    evaluation = evaluate_version(repository, WORSE, V1, held_out, Split.TEST, tmp_path / "evaluation")
    assert not evaluation.verdict.promote
    assert "worse than the current version" in evaluation.verdict.reason


def test_the_page_tells_whether_a_version_may_have_seen_the_samples(held_out: TrainingSet) -> None:
    content = json.loads(shipped_repository().describe(V1).to_json())
    clauses = [
        independence(ModelDescription.from_json(json.dumps(content | {"training_set": identity})), held_out)
        for identity in ("", held_out.identity, "another")
    ]
    assert "may have seen these places" in clauses[0]
    assert "other places of this set" in clauses[1]
    assert "another set" in clauses[2]


def test_an_empty_split_and_a_damaged_version_have_names(
    repository: ModelRepository, held_out: TrainingSet, tmp_path: Path
) -> None:
    with pytest.raises(GroundTruthError, match="no sample in the split validation"):
        answer(repository, V1, held_out, Split.VALIDATION)
    shutil.copytree(repository.root, tmp_path / "models")
    graph = tmp_path / "models" / "corine-unet" / "1" / "model.onnx"
    network = onnx.load(graph)
    network.doc_string = "another"
    onnx.save(network, graph)
    with pytest.raises(ModelError, match="damaged"):
        answer(ModelRepository(tmp_path / "models"), V1, held_out)
