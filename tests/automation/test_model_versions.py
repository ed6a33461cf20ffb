import shutil
from pathlib import Path

import dagster as dg

from earthsignature_assets.automation.model_versions import registered_models
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace

FIRST, NEW = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 9)
NEWEST = max(shipped_repository().versions())
SHIPPED = [str(NEWEST)]


def tick(instance: dg.DagsterInstance, home: Path) -> str:
    """One tick, carried out; returns what the UI shows of it."""
    resources = {"engine": InferenceEngine(registered=str(home / "models")), "workspace": Workspace(home=str(home))}
    result = registered_models(dg.build_sensor_context(instance=instance, resources=resources))
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or ():
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions("model_version", request.partition_keys)
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition("model_version", key)
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)


def drop(home: Path, version: int, whole: bool = True) -> None:
    folder = home / "models" / "corine-unet" / str(version)
    shutil.copytree(shipped_repository().folder(FIRST), folder, dirs_exist_ok=True)
    described = folder / "model.json"
    described.write_text(described.read_text().replace('"version": 1', f'"version": {version}'))
    if not whole:
        (folder / "model.onnx").write_bytes(b"the beginning of a copy")


def test_a_version_that_is_dropped_into_the_repository_becomes_a_partition(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance, tmp_path)
        assert instance.get_dynamic_partitions("model_version") == SHIPPED
        drop(tmp_path, NEW.version)
        assert tick(instance, tmp_path).startswith("1 added")
        assert instance.get_dynamic_partitions("model_version") == [*SHIPPED, str(NEW)]
        assert tick(instance, tmp_path).startswith(f"0 added, 0 removed, {len(SHIPPED) + 1} active")


def test_a_version_that_is_still_being_copied_waits(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        drop(tmp_path, NEW.version, whole=False)
        tick(instance, tmp_path)
        assert instance.get_dynamic_partitions("model_version") == SHIPPED
        drop(tmp_path, NEW.version)
        tick(instance, tmp_path)
        assert str(NEW) in instance.get_dynamic_partitions("model_version")


def test_a_retired_version_is_removed_and_stays_removed(tmp_path: Path) -> None:
    retired = Workspace(home=str(tmp_path)).retired_models
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance, tmp_path)
        retired.retire(NEWEST, "tests", "it rests")
        for _ in range(2):
            tick(instance, tmp_path)
            assert instance.get_dynamic_partitions("model_version") == []
        retired.reinstate(NEWEST)
        tick(instance, tmp_path)
        assert instance.get_dynamic_partitions("model_version") == SHIPPED


def test_a_deployment_that_has_an_older_shipped_version_keeps_it_and_gets_the_newest(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("model_version", [str(FIRST)])
        assert tick(instance, tmp_path).startswith("1 added, 0 removed, 2 active")
        assert instance.get_dynamic_partitions("model_version") == [str(FIRST), str(NEWEST)]


def test_all_versions_of_a_configured_repository_are_active(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        drop(tmp_path, FIRST.version)
        tick(instance, tmp_path)
        assert instance.get_dynamic_partitions("model_version") == [str(FIRST), str(NEWEST)]


def test_a_key_that_is_not_a_model_version_is_removed(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("model_version", ["corine|unet-v1", "Model"])
        assert tick(instance, tmp_path).startswith(f"{len(SHIPPED)} added, 2 removed")
        assert instance.get_dynamic_partitions("model_version") == SHIPPED
