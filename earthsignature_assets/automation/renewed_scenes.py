"""What follows when a scene is made from other products than before: a reprocessing, or the late part of a datatake."""

import json
from collections.abc import Iterator
from typing import cast

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.automation.jobs import land_cover_job, patches_job
from earthsignature_assets.automation.runs import scenes_under_way
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes

_MOST_EVENTS = 100
"""Most judged days that one tick looks at; the next tick goes on."""


@dg.sensor(
    jobs=[patches_job, land_cover_job],
    minimum_interval_seconds=60,
    description="Asks for the patches, then the products, of accepted scenes that were reprocessed or completed late.",
)
def renewed_scenes(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request what is made from superseded products anew: the patches first, then each active model's product.

    The cursor holds the last judged day that was seen, and the scenes that wait with what they are made from now. The
    run keys carry that too, so nothing is asked for twice, and a scene that is renewed again is asked for again.
    """
    instance = context.instance
    state = json.loads(context.cursor or '{"seen": 0, "waiting": {}}')
    waiting: dict[str, str] = state["waiting"]
    judged = instance.fetch_materializations(
        dg.AssetRecordsFilter(clear_scenes.key, after_storage_id=state["seen"]), limit=_MOST_EVENTS, ascending=True
    ).records
    for record in judged:
        state["seen"] = record.storage_id
        renewed = record.asset_materialization.metadata.get("renewed") if record.asset_materialization else None
        if renewed is not None:
            waiting.update(cast("dict[str, str]", renewed.value))
    keys = set(instance.get_dynamic_partitions(str(scenes.name)))
    models = [ModelVersion.parse(text) for text in instance.get_dynamic_partitions(str(model_versions.name))]
    under_way = scenes_under_way(instance)
    requested = 0
    for key, source in sorted(waiting.items(), reverse=True):
        if key not in keys:
            del waiting[key]
        elif key in under_way:
            continue
        elif _fetched_from(instance, key) != source:
            requested += 1
            yield dg.RunRequest(run_key=f"patches {key} {source}", job_name=patches_job.name, partition_key=key)
        else:
            del waiting[key]
            for model in models:
                requested += 1
                yield dg.RunRequest(
                    run_key=f"land cover {model} {key} {source}",
                    job_name=land_cover_job.name,
                    partition_key=str(scene_model_key(SceneKey.parse(key), model)),
                )
    context.update_cursor(json.dumps(state))
    if not requested:
        yield dg.SkipReason(f"no renewed scene can go on: {len(waiting)} wait for their patches")


def _fetched_from(instance: dg.DagsterInstance, key: str) -> str:
    """What the patches of a scene were last made from; empty where they never were."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(patches.key, asset_partitions=[key]), limit=1
    ).records
    event = records[0].asset_materialization if records else None
    source = event.metadata.get("source") if event else None
    return str(source.value) if source else ""
