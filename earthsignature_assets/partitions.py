"""Dagster partitions: days, scenes, model versions.

Only existing scenes become keys; inference and its outputs are partitioned by scene × model version.
"""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey

FIRST_DAY = "2015-07-04"
"""Day of the first public Sentinel-2 acquisitions, from the commissioning of Sentinel-2A."""

days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY)
scenes = dg.DynamicPartitionsDefinition(name="scene")
model_versions = dg.DynamicPartitionsDefinition(name="model_version")
scene_models = dg.MultiPartitionsDefinition({"scene": scenes, "model_version": model_versions})


def day_of(key: str) -> dt.date:
    """Parse the partition key of a day.

    Raises:
        InvalidKeyError: the key is not a date, is before Sentinel-2, or the day is not over (UTC).
    """
    try:
        day = dt.date.fromisoformat(key)
    except ValueError as error:
        raise InvalidKeyError(f"{key!r} is not a day such as 2026-05-01") from error
    if day.isoformat() < FIRST_DAY:
        raise InvalidKeyError(f"{day} is before the first public images of Sentinel-2 ({FIRST_DAY})")
    if day >= dt.datetime.now(dt.UTC).date():
        raise InvalidKeyError(f"{day} is not over yet (UTC): discover it from the next day on")
    return day


def scene_model_key(scene: SceneKey, model: ModelVersion) -> dg.MultiPartitionKey:
    """Return the partition key of a scene × model version."""
    return dg.MultiPartitionKey({"scene": str(scene), "model_version": str(model)})


def scene_and_model(key: str) -> tuple[SceneKey, ModelVersion]:
    """Parse the partition key of a scene × model version.

    Raises:
        InvalidKeyError: a part does not parse.
    """
    parts = scene_models.get_partition_key_from_str(key).keys_by_dimension
    return SceneKey.parse(parts["scene"]), ModelVersion.parse(parts["model_version"])


def scenes_of_run(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> set[str]:
    """Return the scene keys of a run from its tags: of one partition, or of a backfill's range."""
    if (first := tags.get(ASSET_PARTITION_RANGE_START_TAG)) and (last := tags.get(ASSET_PARTITION_RANGE_END_TAG)):
        keys = instance.get_dynamic_partitions(str(scenes.name))
        ends = [_scene_part(first), _scene_part(last)]
        if not set(ends) <= set(keys):
            return set(ends)
        return set(keys[keys.index(ends[0]) : keys.index(ends[1]) + 1])
    key = tags.get("dagster/partition/scene") or _scene_part(tags.get("dagster/partition", ""))
    return {key} if "_R" in key else set()


def _scene_part(key: str) -> str:
    """Return the scene of a scene × model key, or of a scene key."""
    return key.rpartition("|")[2]
