"""Names of assets, jobs and partitions that the UI and operators rely on. A change here is a migration."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from earthsignature_assets.definitions import defs

ROOT = Path(__file__).resolve().parents[1]
DAY, SCENE, SCENE_MODEL = "day", "scene", "scene × model"


def test_assets_partitions_and_order_are_as_published() -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): (
            _partitions(graph.get(key).partitions_def),
            sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
        )
        for key in graph.get_all_asset_keys()
    }
    assert found == {
        "discovered_items": (DAY, []),
        "clear_scenes": (DAY, ["discovered_items"]),
        "patches": (SCENE, ["clear_scenes"]),
        "segmentation": (SCENE_MODEL, ["patches"]),
        "land_cover_raster": (SCENE_MODEL, ["segmentation"]),
        "land_cover_polygons": (SCENE_MODEL, ["land_cover_raster"]),
        "land_cover_product": (SCENE_MODEL, ["land_cover_polygons", "land_cover_raster"]),
        "training_set": (None, []),
        "trained_model": (None, ["training_set"]),
        "model_evaluation": ("model_version", ["training_set"]),
    }


def _partitions(definition: dg.PartitionsDefinition | None) -> str | None:
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return definition.name
    if isinstance(definition, dg.DailyPartitionsDefinition):
        return DAY
    return SCENE_MODEL if isinstance(definition, dg.MultiPartitionsDefinition) else None


def test_every_asset_has_a_description() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).description
        assert graph.get(key).group_name in ("imagery", "land_cover", "models")
        assert graph.get(key).kinds
        assert graph.get(key).owners == ["team:earthsignature"]
        assert graph.get(key).code_version
        assert graph.get(key).tags.get("retention") in ("kept", "transient")


def test_jobs_schedules_and_sensors_are_as_published() -> None:
    assert {"discovery", "scene_patches", "land_cover", "patch_retention"} <= {
        job.name for job in defs.resolve_all_job_defs()
    }
    assert defs.resolve_schedule_def("daily_discovery").cron_schedule == "0 6 * * *"
    retention = defs.resolve_schedule_def("nightly_patch_retention")
    assert (retention.cron_schedule, retention.job_name) == ("0 3 * * *", "patch_retention")
    assert retention.default_status is dg.DefaultScheduleStatus.STOPPED
    for sensor in ("accepted_scenes", "renewed_scenes"):
        assert {job.name for job in defs.resolve_sensor_def(sensor).jobs} == {"scene_patches", "land_cover"}
    running = {sensor.name for sensor in defs.sensors or () if sensor.default_status is dg.DefaultSensorStatus.RUNNING}
    assert running == {"registered_models"}  # it starts no run
    assert defs.resolve_sensor_def("working_window").default_status is dg.DefaultSensorStatus.STOPPED


def test_definitions_load_as_the_web_server_loads_them() -> None:
    dg.Definitions.validate_loadable(defs)


def test_checks_are_as_published() -> None:
    specs = [spec for asset in defs.resolve_asset_graph().assets_defs for spec in asset.check_specs]
    checks = {spec.key.to_user_string(): spec.blocking for spec in specs}
    assert all(spec.description for spec in specs)
    assert checks == {
        "clear_scenes:cloud_cover": False,
        "segmentation:input_range": False,
        "land_cover_raster:grid_and_crs": True,
        "land_cover_raster:class_codes": True,
        "land_cover_raster:valid_fraction": True,
        "land_cover_raster:confidence": False,
        "land_cover_raster:class_areas": False,
        "land_cover_raster:class_history": False,
        "land_cover_polygons:coverage": True,
        "land_cover_product:checksums": True,
        "land_cover_product:stac_item": True,
    }


def test_freshness_windows_detect_a_missed_morning() -> None:
    graph = defs.resolve_asset_graph()
    for name in ("discovered_items", "clear_scenes"):
        policy = graph.get(dg.AssetKey(name)).freshness_policy
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        windows = policy.warn_window, policy.fail_window
        assert [window and window.to_timedelta() for window in windows] == [
            dt.timedelta(hours=30),
            dt.timedelta(hours=54),
        ]


def test_pools_are_as_published() -> None:
    graph = defs.resolve_asset_graph()
    found: dict[str, set[str]] = {}
    for key in graph.get_all_asset_keys():
        for pool in graph.get(key).pools or ():
            found.setdefault(pool, set()).add(key.to_user_string())
    assert found == {
        "stac_provider": {"discovered_items", "clear_scenes", "patches"},
        "inference": {"segmentation", "model_evaluation"},
        "training": {"trained_model"},
    }


def test_dagsters_own_check_passes() -> None:
    command = [str(Path(sys.executable).parent / "dg"), "check", "defs"]
    environment = os.environ | {"VIRTUAL_ENV": sys.prefix, "DG_CLI_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "All definitions loaded successfully" in told
    assert "warning" not in told.lower()


def test_imports_of_some_runs_are_not_imported_by_all() -> None:
    heavy = "geopandas", "matplotlib", "pandas", "pystac_client", "torch", "tritonclient"
    program = f"import sys, earthsignature_assets.definitions; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_older_command_validates_and_warns_only_about_itself(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "--module-name"]
    done = subprocess.run(
        [*command, "earthsignature_assets.definitions"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "All code locations passed validation" in told
    warnings = [line for line in told.splitlines() if "warning" in line.lower()]
    assert len(warnings) <= 1, told
    assert all("`definitions_validate_command` is superseded" in line for line in warnings), told
