import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from earthsignature_assets.cli.chain import Chain
from earthsignature_assets.definitions import definitions
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.resources.workspace import Workspace

MODEL = ModelVersion("corine-unet", 1)
OTHER = SceneKey.parse("2026-05-01_R022_T33TUG")


@pytest.fixture
def home(deployment: Any, tmp_path: Path) -> Path:
    shutil.copytree(deployment.settings.home, tmp_path / "home", ignore=shutil.ignore_patterns("simulated", "dagster"))
    return tmp_path / "home"


def age(folder: Path, days: float) -> None:
    then = time.time() - days * 86_400
    for entry in (folder, *folder.rglob("*")):
        os.utime(entry, (then, then))


def sweep(deployment: Any, home: Path, instance: dg.DagsterInstance, **settings: float) -> dict[str, Any]:
    code = definitions(dataclasses.replace(deployment.settings, home=home, **settings))
    result = code.resolve_job_def("patch_retention").execute_in_process(instance=instance)
    events = result.get_step_success_events()
    assert len(events) == 1
    (output,) = [event for event in result.all_node_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_a_sweep_removes_expired_and_published_folders_and_patches_fetches_again(deployment: Any, home: Path) -> None:
    scene, workspace = deployment.product.scene, Workspace(home=str(home))
    leftovers = [workspace.segmentation(scene, MODEL), workspace.draft(scene, MODEL)]
    shutil.copytree(leftovers[0], unpublished := workspace.segmentation(OTHER, MODEL))
    shutil.copytree(workspace.patches(scene), young := workspace.patches(OTHER))
    for folder in (*leftovers, unpublished):
        age(folder, 1)
    age(workspace.patches(scene), 8)
    with dg.DagsterInstance.ephemeral() as instance:
        metadata = sweep(deployment, home, instance)
        assert metadata["patch_stores_removed"] == 1
        assert metadata["published_folders_removed"] == 2
        assert metadata["removed"] == [f"{scene}.zarr"]
        assert metadata["bytes_freed"] > 1e5
        assert not any(folder.exists() for folder in (*leftovers, workspace.patches(scene)))
        assert unpublished.is_dir()
        assert young.is_dir()
        assert sweep(deployment, home, instance)["bytes_freed"] == 0
        instance.add_dynamic_partitions("scene", [str(scene)])
        Chain(dataclasses.replace(deployment.settings, home=home), instance).fetch(scene)
    assert workspace.patches(scene).is_dir()


def test_the_budget_counts_and_a_scene_with_an_active_run_stays(deployment: Any, home: Path) -> None:
    scene, workspace = deployment.product.scene, Workspace(home=str(home))
    age(workspace.patches(scene), 1)
    age(workspace.draft(scene, MODEL), 1)
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(
            definitions(deployment.settings).resolve_job_def("land_cover"),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": f"{MODEL}|{scene}", "dagster/partition/scene": str(scene)},
        )
        assert sweep(deployment, home, instance, patch_budget_gb=0)["bytes_freed"] == 0
        assert workspace.patches(scene).is_dir()
        assert workspace.draft(scene, MODEL).is_dir()
        instance.delete_run(run.run_id)
        assert sweep(deployment, home, instance, patch_budget_gb=0)["patch_stores_removed"] == 1
    assert not workspace.patches(scene).exists()


def test_an_empty_home_is_swept(deployment: Any, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert sweep(deployment, tmp_path, instance)["bytes_freed"] == 0
