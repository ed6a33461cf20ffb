"""The partitions: day, scene, model version.

Only scenes that exist become keys; inference and outputs are partitioned by scene × model version.
"""

import dagster as dg

from earthsignature_assets.keys import ModelVersion, SceneKey

FIRST_DAY = "2015-07-04"
"""The first public Sentinel-2 acquisitions (Sentinel-2A commissioning)."""

days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY)
scenes = dg.DynamicPartitionsDefinition(name="scene")
model_versions = dg.DynamicPartitionsDefinition(name="model_version")
scene_models = dg.MultiPartitionsDefinition({"scene": scenes, "model_version": model_versions})


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
