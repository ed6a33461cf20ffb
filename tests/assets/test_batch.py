from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from earthsignature_assets.assets import step_failures
from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.errors import BandError, EngineUnavailableError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import scenes_of_run

SCENES = [f"2026-05-01_R022_T32T{square}" for square in ("QM", "QN", "QP")]
MODEL = "corine-unet-v1"
KEYS = [f"{MODEL}|{scene}" for scene in SCENES]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_failures, "_FIRST_PAUSE_S", 0.0)


def run_batch(
    make: Callable[[SceneKey, ModelVersion], Metadata],
) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetMaterialization]]:
    """Run three scenes as a backfill does; returns the result and what the instance knows of each partition."""

    @scene_model_asset()
    def product(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return materialise_each(context, make)

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        instance.add_dynamic_partitions("model_version", [MODEL])
        tags = {ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: KEYS[-1]}
        result = dg.materialize([product], instance=instance, tags=tags, raise_on_error=False)
        records = instance.fetch_materializations(product.key, limit=10).records
        assert scenes_of_run(instance, tags) == set(SCENES)
    events = [record.asset_materialization for record in records]
    return result, {str(event.partition): event for event in events if event is not None}


def test_a_batch_records_each_partition_with_its_own_metadata() -> None:
    result, events = run_batch(lambda scene, model: {"tile": scene.tile, "model": str(model)})
    assert result.success
    assert {key: event.metadata["tile"].value for key, event in events.items()} == {key: key[-5:] for key in KEYS}
    assert (events[KEYS[0]].tags or {})["dagster/partition/scene"] == SCENES[0]


def test_a_failed_partition_of_a_batch_is_named_and_the_others_are_recorded() -> None:
    def make(scene: SceneKey, _: ModelVersion) -> Metadata:
        if scene.tile == "32TQN":
            raise BandError("band B04 is gone")
        return {"tile": scene.tile}

    result, events = run_batch(make)
    assert not result.success
    assert set(events) == {KEYS[0], KEYS[2]}
    assert events[KEYS[2]].metadata["tile"].value == "32TQP"
    assert (events[KEYS[2]].tags or {})["dagster/partition/scene"] == SCENES[2]
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    message = str(failure.step_failure_data.user_failure_data)
    assert "1 of 3 partitions failed" in message
    assert f"{KEYS[1]}: band B04 is gone" in message


def test_a_programming_error_ends_the_step_and_finished_partitions_are_recorded() -> None:
    def make(scene: SceneKey, _: ModelVersion) -> Metadata:
        if scene.tile == "32TQN":
            raise ZeroDivisionError("a mistake of ours")
        return {}

    result, events = run_batch(make)
    assert not result.success
    assert set(events) == {KEYS[0]}


def test_partitions_with_transient_errors_are_retried_alone() -> None:
    calls: list[str] = []

    def make(scene: SceneKey, _: ModelVersion) -> Metadata:
        calls.append(scene.tile)
        if scene.tile == "32TQN" and calls.count("32TQN") < 3:
            raise EngineUnavailableError("no Triton answers")
        return {}

    result, events = run_batch(make)
    assert result.success
    assert set(events) == set(KEYS)
    assert calls == ["32TQM", "32TQN", "32TQP", "32TQN", "32TQN"]


def test_retries_end_after_the_last_attempt() -> None:
    calls: list[str] = []

    def make(scene: SceneKey, _: ModelVersion) -> Metadata:
        calls.append(scene.tile)
        raise EngineUnavailableError("no Triton answers")

    result, events = run_batch(make)
    assert not result.success
    assert not events
    assert len(calls) == 3 * (step_failures.MAX_RETRIES + 1)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"dagster/partition": KEYS[0], "dagster/partition/scene": SCENES[0]}, {SCENES[0]}),
        ({"dagster/partition": SCENES[1]}, {SCENES[1]}),
        ({"dagster/partition": "2026-05-01"}, set()),
        ({}, set()),
        (
            {ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: f"{MODEL}|gone_R001_T32TQM"},
            {SCENES[0], "gone_R001_T32TQM"},
        ),
    ],
)
def test_the_scenes_of_a_run_are_read_from_its_tags(tags: dict[str, str], expected: set[str]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", SCENES)
        assert scenes_of_run(instance, tags) == expected
