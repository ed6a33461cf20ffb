"""From a STAC item and its truth to a training set, and from there to the verdict on a version, run by Dagster."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from earthsignature_assets.assets.model_evaluation import model_evaluation
from earthsignature_assets.assets.training_set import training_set
from earthsignature_assets.definitions import definitions
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.partitions import model_versions
from earthsignature_assets.system.settings import Settings

CLEAR = SceneKey.parse("2026-05-01_R022_T32TQM")
MODEL = "corine-unet-v1"
RECIPE = """
name = "simulated"
chip = 32
cell_km = 0.4
shares = {{ train = 0.5, test = 0.5 }}
[[images]]
{image}
[[truth]]
raster = "{truth}"
scheme = "corine"
"""


def recipe(deployment: Any, folder: Path, image: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(image=image, truth=deployment.scenes[CLEAR].truth))
    return path


def materialise(
    asset: Any, instance: dg.DagsterInstance, settings: Settings, config: Any, key: str | None = None
) -> Any:
    result = dg.materialize(
        [asset] if asset is training_set else [asset, training_set.to_source_asset()],
        instance=instance,
        resources=definitions(settings).resources,
        run_config={"ops": {asset.key.to_user_string(): {"config": config}}},
        partition_key=key,
        selection=[asset],
        raise_on_error=False,
    )
    if not result.success:
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        raise AssertionError(str(failed.step_failure_data.user_failure_data))
    return result.asset_materializations_for_node(asset.key.to_user_string())[0].metadata


def test_a_scene_of_the_home_becomes_a_training_set_that_evaluates_a_version(deployment: Any, tmp_path: Path) -> None:
    settings, path = deployment.settings, recipe(deployment, tmp_path, f'scene = "{CLEAR}"')
    with dg.DagsterInstance.ephemeral() as instance:
        made = materialise(training_set, instance, settings, {"recipe": str(path)})
        held = TrainingSet(Path(settings.home) / "training_sets" / "simulated")
        assert made["identity"].value == held.identity
        assert {record.data["split"] for record in made["splits"].value.records} == {"train", "test"}
        hidden = {record.data["reason"]: record.data["count"] for record in made["remarks"].value.records}
        assert hidden["labelled, but the image shows no ground there"] > 0, "clouds and the edge of the swath"

        instance.add_dynamic_partitions(str(model_versions.name), [MODEL])
        judged = materialise(model_evaluation, instance, settings, {"training_set": "simulated"}, MODEL)
    figures = json.loads((Path(settings.home) / "evaluations" / MODEL / "evaluation.json").read_text())
    assert judged["mean_f1"].value == figures["as_labelled"]["mean_f1"]["value"]
    assert judged["reason"].value == figures["verdict"]["reason"]
    assert judged["picture"].value.startswith("![picture](data:image/png;base64,")
    assert {record.data["class"] for record in judged["classes"].value.records} <= set(
        figures["as_labelled"]["classes"]
    )
    assert len(judged["confusion_level_1"].value.records) >= 2


def test_missing_patches_of_a_stac_item_are_fetched(deployment: Any, tmp_path: Path) -> None:
    image = f'item = "{deployment.scenes[CLEAR].item_path}"'
    settings = Settings(home=tmp_path / "another", stac_api=deployment.settings.stac_api)
    with dg.DagsterInstance.ephemeral() as instance:
        materialise(training_set, instance, settings, {"recipe": str(recipe(deployment, tmp_path, image))})
    held = TrainingSet(tmp_path / "another" / "training_sets" / "simulated")
    (image_entry,) = held.report["images"]
    assert image_entry["scene"] == str(CLEAR)
    assert image_entry["sensed_at"].startswith("2026-05-01T")
    assert image_entry["href"]
    item = json.loads((held.folder / "item.json").read_text())
    assert [link["rel"] for link in item["links"]] == ["source"]
    number = held.numbers()[0]
    assert np.count_nonzero(held.truth(number).codes) == held.samples.iloc[number]["labelled_pixels"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ('scene = "2026-05-09_R022_T32TQM"', "there are no patches"),
        (f'scene = "{CLEAR}"\nlevel = "L1C"', "the recipe gives L1C"),
        ('item = "none.json"', "cannot be read"),
        (f'scene = "{CLEAR}"\n[[images]]\nscene = "{CLEAR}"', "more than once"),
    ],
)
def test_a_missing_image_fails_the_step_by_name(deployment: Any, tmp_path: Path, image: str, message: str) -> None:
    path = recipe(deployment, tmp_path, image)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(AssertionError, match=message):
        materialise(training_set, instance, deployment.settings, {"recipe": str(path)})


def test_an_evaluation_without_a_training_set_names_the_remedy(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(model_versions.name), [MODEL])
        with pytest.raises(AssertionError, match="materialise `training_set`"):
            materialise(model_evaluation, instance, Settings(home=tmp_path), {}, MODEL)
