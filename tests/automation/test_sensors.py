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


def test_what_is_missing_of_each_scene_is_asked_for_newest_first() -> None:
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


def test_a_model_version_that_comes_later_is_missing_everywhere_and_asked_for_nowhere() -> None:
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


def test_what_is_under_way_is_not_asked_for_and_a_long_queue_gets_no_longer() -> None:
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


def test_within_the_look_back_window_what_failed_is_asked_for_again_each_day() -> None:
    today = dt.datetime.now(dt.UTC).date()
    young = str(SceneKey(today - dt.timedelta(days=3), 22, "32TQM"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [SCENES[0], young])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        run_keys = [one.run_key for one in answers_of(instance) if isinstance(one, dg.RunRequest)]
        assert run_keys == [f"patches {young} {today}", f"patches {SCENES[0]}"]


def test_a_tick_asks_for_a_bounded_batch_and_nothing_twice() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [f"2026-05-01_R{n:03d}_T32TQM" for n in range(1, 144)])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        requests = answers_of(instance)
        assert len(requests) == 100
        assert len({request.run_key for request in requests}) == 100


def test_a_key_added_by_hand_that_does_not_parse_costs_nobody_else() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", ["nonsense", *SCENES])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        assert tick(instance) == [("scene_patches", SCENES[1]), ("scene_patches", SCENES[0])]


def test_nothing_to_do_is_said() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        (answer,) = answers_of(instance)
        assert "0 scenes" in answer.skip_message


def test_a_scene_that_turned_cloudy_before_it_had_a_product_is_asked_for_no_longer() -> None:
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
