import dagster as dg

from earthsignature_assets.automation.sensors import accepted_scenes

SCENES = ["2026-05-01_R022_T32TQM", "2026-05-03_R050_T32TQM"]
MODELS = ["corine-unet-v1", "corine-unet-v2"]


def tick(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    answers = list(accepted_scenes(dg.build_sensor_context(instance=instance)))
    return [(str(one.job_name), str(one.partition_key)) for one in answers if isinstance(one, dg.RunRequest)]


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
        assert ("land_cover", f"corine-unet-v2|{SCENES[0]}") in tick(instance)
        assert ("land_cover", f"corine-unet-v1|{SCENES[0]}") not in tick(instance)


def test_a_tick_asks_for_a_bounded_batch_and_nothing_twice() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [f"2026-05-01_R{n:03d}_T32TQM" for n in range(1, 144)])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        requests = list(accepted_scenes(dg.build_sensor_context(instance=instance)))
        assert len(requests) == 100
        assert len({request.run_key for request in requests}) == 100


def test_a_key_added_by_hand_that_does_not_parse_costs_nobody_else() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", ["nonsense", *SCENES])
        instance.add_dynamic_partitions("model_version", MODELS[:1])
        assert tick(instance) == [("scene_patches", SCENES[1]), ("scene_patches", SCENES[0])]


def test_nothing_to_do_is_said() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        (answer,) = accepted_scenes(dg.build_sensor_context(instance=instance))
        assert "0 scenes" in answer.skip_message
