"""The partitions: day, scene, model version.

Only scenes that exist become keys; inference and outputs are partitioned by scene × model version.
"""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey

FIRST_DAY = "2015-07-04"
"""The first public Sentinel-2 acquisitions (Sentinel-2A commissioning)."""

days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY)
scenes = dg.DynamicPartitionsDefinition(name="scene")
model_versions = dg.DynamicPartitionsDefinition(name="model_version")
scene_models = dg.MultiPartitionsDefinition({"scene": scenes, "model_version": model_versions})


def day_of(key: str) -> dt.date:
    """Read a day's partition key.

    Raises:
        InvalidKeyError: it is no date, lies before Sentinel-2, or is not over yet (UTC).
    """
    try:
        day = dt.date.fromisoformat(key)
    except ValueError as error:
        raise InvalidKeyError(f"{key!r} is no day such as 2026-05-01") from error
    if day.isoformat() < FIRST_DAY:
        raise InvalidKeyError(f"{day} lies before the first public images of Sentinel-2 ({FIRST_DAY})")
    if day >= dt.datetime.now(dt.UTC).date():
        raise InvalidKeyError(f"{day} is not over yet (UTC): a day can be discovered from the next one on")
    return day


def scene_model_key(scene: SceneKey, model: ModelVersion) -> dg.MultiPartitionKey:
    """The partition key of a scene × model version."""
    return dg.MultiPartitionKey({"scene": str(scene), "model_version": str(model)})


def scene_and_model(key: str) -> tuple[SceneKey, ModelVersion]:
    """Read a scene × model partition key.

    Raises:
        InvalidKeyError: a part does not parse.
    """
    parts = scene_models.get_partition_key_from_str(key).keys_by_dimension
    return SceneKey.parse(parts["scene"]), ModelVersion.parse(parts["model_version"])


def scenes_of_run(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> set[str]:
    """The scene keys that a run is about, by its tags: of one partition, or of a backfill's range of them."""
    if (first := tags.get(ASSET_PARTITION_RANGE_START_TAG)) and (last := tags.get(ASSET_PARTITION_RANGE_END_TAG)):
        keys = instance.get_dynamic_partitions(str(scenes.name))
        ends = [_scene_part(first), _scene_part(last)]
        if not set(ends) <= set(keys):
            return set(ends)
        return set(keys[keys.index(ends[0]) : keys.index(ends[1]) + 1])
    key = tags.get("dagster/partition/scene") or _scene_part(tags.get("dagster/partition", ""))
    return {key} if "_R" in key else set()


def _scene_part(key: str) -> str:
    """The scene of a scene × model key, and of a scene key itself."""
    return key.rpartition("|")[2]
