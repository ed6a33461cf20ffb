"""The sensors: what follows when scenes are accepted."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import dagster as dg

from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.automation.jobs import land_cover_job, patches_job
from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes

KeyT = TypeVar("KeyT", SceneKey, ModelVersion)

_BATCH = 100
"""Most runs that one tick asks for; the next tick goes on."""


@dg.sensor(
    jobs=[patches_job, land_cover_job],
    minimum_interval_seconds=60,
    description="Asks for what is missing of each accepted scene: its patches, then a product of each model version.",
)
def accepted_scenes(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request the missing patches and products of every scene key, newest days first, one run key each.

    Run keys make it idempotent: a tick that is repeated, or lost after half of its requests, asks for nothing
    twice.
    """
    instance = context.instance
    keys = _parsed(context, SceneKey.parse, instance.get_dynamic_partitions(str(scenes.name)))
    models = _parsed(context, ModelVersion.parse, instance.get_dynamic_partitions(str(model_versions.name)))
    with_patches = instance.get_materialized_partitions(patches.key)
    published = instance.get_materialized_partitions(land_cover_product.key)
    requested = 0
    for key in reversed(keys):
        wanted = {model: scene_model_key(key, model) for model in models}
        missing = {model: partition for model, partition in wanted.items() if str(partition) not in published}
        if missing and str(key) not in with_patches:
            yield dg.RunRequest(run_key=f"patches {key}", job_name=patches_job.name, partition_key=str(key))
            requested += 1
        elif missing:
            for model, partition in missing.items():
                yield dg.RunRequest(
                    run_key=f"land cover {model} {key}", job_name=land_cover_job.name, partition_key=str(partition)
                )
                requested += 1
        if requested >= _BATCH:
            return
    if not requested:
        yield dg.SkipReason(f"every product of {len(keys)} scenes and {len(models)} model versions is there")


def _parsed(context: dg.SensorEvaluationContext, parse: Callable[[str], KeyT], texts: Sequence[str]) -> list[KeyT]:
    """The keys in order; one that was added by hand and does not parse is named in the log and passed over."""
    keys = []
    for text in texts:
        try:
            keys.append(parse(text))
        except InvalidKeyError as error:
            context.log.warning("partition %r is passed over: %s", text, error)
    return sorted(keys)
