import datetime as dt

import dagster as dg
import pytest

from earthsignature_assets.automation.working_window import working_window
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

TODAY = dt.datetime.now(dt.UTC).date()


def scene(days_ago: int) -> str:
    return str(SceneKey(TODAY - dt.timedelta(days=days_ago), 22, "32TQM"))


def removed(instance: dg.DagsterInstance, window_days: int = 90) -> set[str]:
    context = dg.build_sensor_context(
        instance=instance, resources={"discovery_window": DiscoveryWindow(window_days=window_days)}
    )
    result = working_window(context)
    assert isinstance(result, dg.SensorResult)
    requests = result.dynamic_partitions_requests or []
    return {key for request in requests for key in request.partition_keys}


def test_old_scenes_are_removed_and_recent_ones_stay() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [scene(400), scene(91), scene(90), scene(1)])
        assert removed(instance) == {scene(400), scene(91)}


def test_a_backfill_of_old_days_brings_scenes_back_for_a_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [scene(400), scene(401)])
        day = (TODAY - dt.timedelta(days=400)).isoformat()
        instance.report_runless_asset_event(dg.AssetMaterialization("clear_scenes", partition=day))
        assert removed(instance) == {scene(401)}
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=91)
        monkeypatch.setattr("earthsignature_assets.automation.working_window._now", lambda: later)
        assert removed(instance) == {scene(400), scene(401)}


def test_a_scene_with_an_active_run_stays() -> None:
    @dg.job
    def anything() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [scene(400), scene(401)])
        instance.create_run_for_job(
            anything, status=dg.DagsterRunStatus.STARTING, tags={"dagster/partition": scene(400)}
        )
        assert removed(instance) == {scene(401)}


def test_invalid_keys_are_removed_and_logged() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", ["nonsense", "a|b", scene(1)])
        assert removed(instance) == {"nonsense", "a|b"}


def test_a_tick_without_removals_gives_a_reason() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow()})
        result = working_window(context)
        assert isinstance(result, dg.SensorResult)
        assert "0 of 0" in str(result.skip_reason)
        assert not result.dynamic_partitions_requests
