import datetime as dt
from collections.abc import Iterable
from typing import Any, cast

import dagster as dg

from earthsignature_assets.automation.sensors import accepted_scenes
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

SCENES = ["2026-05-01_R022_T32TQM", "2026-05-03_R050_T32TQM"]
MODELS = ["corine-unet-v1", "corine-unet-v2"]


def context_of(instance: dg.DagsterInstance) -> dg.SensorEvaluationContext:
    return dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow(look_back_days=7)})


def answers_of(instance: dg.DagsterInstance) -> list[Any]:
    return list(cast("Iterable[Any]", accepted_scenes(context_of(instance))))


def tick(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    requests = [one for one in answers_of(instance) if isinstance(one, dg.RunRequest)]
    return [(str(one.job_name), str(one.partition_key)) for one in requests]


def materialise(instance: dg.DagsterInstance, asset: str, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))


def test_missing_partitions_are_requested_newest_first() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        instance.add_dynamic_partitions("model_version", MODELS)
        assert tick(instance) == [("scene_patches", SCENES[1]), ("scene_patches", SCENES[0])]
        materialise(instance, "patches", SCENES[0])
        assert tick(instance) == [
            ("scene_patches", SCENES[1]),
            ("land_cover", f"corine-unet-v1|{SCENES[0]}"),
            ("land_cover", f"corine-unet-v2|{SCENES[0]}"),
        ]
        materialise(instance, "land_cover_product", f"corine-unet-v1|{SCENES[0]}")
        assert tick(instance) == [("scene_patches", SCENES[1])]


def test_a_later_model_version_is_missing_everywhere_and_requested_nowhere() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        for scene in SCENES:
            materialise(instance, "patches", scene)
            materialise(instance, "land_cover_product", f"{MODELS[0]}|{scene}")
        instance.add_dynamic_partitions("model_version", MODELS[1:])
        assert tick(instance) == []
        instance.add_dynamic_partitions("scene", ["2026-05-04_R022_T32TQM"])
        materialise(instance, "patches", "2026-05-04_R022_T32TQM")
        assert len(tick(instance)) == 2


def test_without_a_model_version_nothing_is_fetched() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        assert tick(instance) == []


def queue(instance: dg.DagsterInstance, partition: str) -> None:
    @dg.job
    def anything() -> None: ...

    instance.create_run_for_job(anything, status=dg.DagsterRunStatus.STARTING, tags={"dagster/partition": partition})


def test_active_scenes_are_not_requested_and_a_long_queue_stays_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        queue(instance, SCENES[0])
        assert tick(instance) == [("scene_patches", SCENES[1])]
        for number in range(200):
            queue(instance, f"2026-04-01_R{1 + number % 143:03d}_T{32 + number // 143}TQM")
        (answer,) = answers_of(instance)
        assert isinstance(answer, dg.SkipReason)
        assert "1 waiting" in str(answer.skip_message)


def test_within_the_look_back_window_failures_are_retried_daily() -> None:
    today = dt.datetime.now(dt.UTC).date()
    young = str(SceneKey(today - dt.timedelta(days=3), 22, "32TQM"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENES[0], young])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        run_keys = [one.run_key for one in answers_of(instance) if isinstance(one, dg.RunRequest)]
        assert run_keys == [f"patches {young} {today}", f"patches {SCENES[0]}"]


def test_a_tick_requests_a_bounded_batch_and_nothing_twice() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [f"2026-05-01_R{n:03d}_T32TQM" for n in range(1, 144)])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        requests = answers_of(instance)
        assert len(requests) == 100
        assert len({request.run_key for request in requests}) == 100


def test_an_invalid_key_is_skipped() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", ["nonsense", *SCENES])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        assert tick(instance) == [("scene_patches", SCENES[1]), ("scene_patches", SCENES[0])]


def test_a_tick_without_requests_gives_a_reason() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        (answer,) = answers_of(instance)
        assert "0 scenes" in answer.skip_message


def test_a_scene_that_is_refused_before_its_first_product_is_not_requested() -> None:
    day = SCENES[0][:10]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES[:1])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        assert tick(instance) == [("scene_patches", SCENES[0])]
        withdrawn = {"withdrawn": dg.MetadataValue.json([SCENES[0]])}
        instance.report_runless_asset_event(dg.AssetMaterialization("clear_scenes", partition=day, metadata=withdrawn))
        assert tick(instance) == []
        materialise(instance, "clear_scenes", day)  # clear again
        assert tick(instance) == [("scene_patches", SCENES[0])]
