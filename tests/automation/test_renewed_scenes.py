import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import cast

import dagster as dg
import pytest

from earthsignature_assets.automation import renewed_scenes as module
from earthsignature_assets.automation.renewed_scenes import renewed_scenes
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import scene_model_key
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

SCENE, OTHER = "2026-05-01_R022_T32TQM", "2026-05-01_R022_T33TUG"
MODEL = "corine-unet-v1"
OLD, NEW, NEWER = "S2B_N0511", "S2B_N0512", "S2B_N0513"


def judged(instance: dg.DagsterInstance, renewed: dict[str, str], withdrawn: Sequence[str] = ()) -> None:
    metadata = {"renewed": dg.MetadataValue.json(renewed)} if renewed else {}
    if withdrawn:
        metadata["withdrawn"] = dg.MetadataValue.json(list(withdrawn))
    instance.report_runless_asset_event(
        dg.AssetMaterialization("clear_scenes", partition="2026-05-01", metadata=metadata)
    )


def fetched(instance: dg.DagsterInstance, source: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization("patches", partition=SCENE, metadata={"source": source})
    )


def published(instance: dg.DagsterInstance) -> None:
    partition = scene_model_key(SceneKey.parse(SCENE), ModelVersion.parse(MODEL))
    instance.report_runless_asset_event(dg.AssetMaterialization("land_cover_product", partition=partition))


class Sensor:
    """Ticks that hand their cursor on, as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance, cursor: str | None = None) -> None:
        self.instance, self.cursor = instance, cursor

    def tick(self) -> list[str]:
        resources = {"discovery_window": DiscoveryWindow(look_back_days=7, window_days=90)}
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources)
        answers = list(cast("Iterable[object]", renewed_scenes(context)))
        self.cursor = context.cursor
        return [str(one.run_key) for one in answers if isinstance(one, dg.RunRequest)]


def test_a_reprocessed_scene_is_fetched_and_published_again() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE])
        instance.add_dynamic_partitions("model_version", [MODEL])
        fetched(instance, OLD)
        published(instance)
        sensor = Sensor(instance)
        judged(instance, {})
        assert sensor.tick() == []
        judged(instance, {SCENE: NEW, OTHER: NEW})  # the other is no partition any more
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]  # the same run key: asked for once
        fetched(instance, NEW)
        assert sensor.tick() == [f"land cover {MODEL} {SCENE} {NEW}"]
        published(instance)
        assert sensor.tick() == []
        judged(instance, {SCENE: NEWER})
        assert sensor.tick() == [f"patches {SCENE} {NEWER}"]


def test_a_scene_with_an_active_run_waits() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE])
        instance.create_run_for_job(
            dg.job(name="scene_patches")(lambda: None),
            tags={"dagster/partition": SCENE},
            status=dg.DagsterRunStatus.STARTED,
        )
        sensor = Sensor(instance)
        judged(instance, {SCENE: NEW})
        assert sensor.tick() == []
        (run,) = instance.get_runs()
        instance.report_run_canceled(run)
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]


def test_failures_are_retried_daily_and_given_up_after_the_look_back_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = dt.date(2026, 5, 3)

    def on_day(days: int) -> list[str]:
        monkeypatch.setattr(module, "_today", lambda: first + dt.timedelta(days=days))
        return sensor.tick()

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE])
        instance.add_dynamic_partitions("model_version", [MODEL])
        sensor = Sensor(instance)
        judged(instance, {SCENE: NEW})
        assert on_day(0) == [f"patches {SCENE} {NEW}"]
        assert on_day(1) == [f"patches {SCENE} {NEW} 2026-05-04"]  # the run of the day before failed
        fetched(instance, NEW)
        assert on_day(2) == [f"land cover {MODEL} {SCENE} {NEW} 2026-05-05"]
        assert on_day(7) == [f"land cover {MODEL} {SCENE} {NEW} 2026-05-10"]
        assert on_day(8) == []
        assert on_day(7) == []  # it waits no longer


def test_a_waiting_scene_that_is_refused_stops_waiting() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE])
        sensor = Sensor(instance)
        judged(instance, {SCENE: NEW})
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]
        judged(instance, {}, withdrawn=[SCENE])
        assert sensor.tick() == []
        judged(instance, {SCENE: NEWER})  # clear again in yet another processing
        assert sensor.tick() == [f"patches {SCENE} {NEWER}"]


def test_waiting_scenes_of_a_cursor_of_the_first_format_are_requested() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE, OTHER])
        judged(instance, {OTHER: NEW})
        (seen,) = instance.fetch_materializations(dg.AssetKey("clear_scenes"), limit=1).records
        sensor = Sensor(instance, json.dumps({"seen": seen.storage_id, "waiting": {SCENE: NEW}}))
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]
        assert sensor.tick() == [f"patches {SCENE} {NEW}"]  # and stays in the cursor that was written


@pytest.mark.parametrize("cursor", ["no json", "[]", '{"waiting": {}}', '{"seen": 1, "waiting": {"x": {}}}', "7"])
def test_a_cursor_that_cannot_be_read_loses_no_scene(cursor: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENE, OTHER])
        judged(instance, {SCENE: OLD})
        judged(instance, {SCENE: NEW, OTHER: NEW})
        fetched(instance, NEW)
        assert Sensor(instance, cursor).tick() == [f"patches {OTHER} {NEW}"]
