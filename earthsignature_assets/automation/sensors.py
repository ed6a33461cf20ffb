"""The sensor that requests patches and products of accepted scenes."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import dagster as dg

from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.automation.jobs import land_cover_job, patches_job
from earthsignature_assets.automation.judgements import Judgements
from earthsignature_assets.automation.runs import scenes_under_way
from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

KeyT = TypeVar("KeyT", SceneKey, ModelVersion)

_BATCH = 100
"""Maximum number of runs that one tick requests; the next tick continues."""
_MOST_UNDER_WAY = 200
"""Maximum number of scenes with active runs, which keeps the queue short enough to read."""


@dg.sensor(
    jobs=[patches_job, land_cover_job],
    minimum_interval_seconds=60,
    description="Requests the patches of each accepted scene, then its product of each active model version.",
)
def accepted_scenes(
    context: dg.SensorEvaluationContext, discovery_window: DiscoveryWindow
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request patches and products of every scene without a product, newest days first.

    A scene with a product of any model is complete here: a later model version is missing everywhere, and an operator
    starts a backfill of its history. Run keys make the sensor idempotent: a tick that is repeated, or interrupted after
    half of its requests, requests nothing twice. A scene that was accepted before and is refused now is not requested.
    Within the look-back window the run key contains the day, so that failed runs are retried daily, for example after
    an outage of the provider.
    """
    instance = context.instance
    keys = instance.get_dynamic_partitions(str(scenes.name))
    models = _parsed(context, ModelVersion.parse, instance.get_dynamic_partitions(str(model_versions.name)))
    with_product = {key.rpartition("|")[2] for key in instance.get_materialized_partitions(land_cover_product.key)}
    under_way = scenes_under_way(instance)
    # Of the thousands of keys in a window only those of a day or two remain.
    pending = _parsed(context, SceneKey.parse, [key for key in keys if not (key in with_product or key in under_way)])
    with_patches = instance.get_materialized_partitions(patches.key) if pending else set()
    judgements = Judgements(instance)
    room = min(_BATCH, _MOST_UNDER_WAY - len(under_way))
    today = dt.datetime.now(dt.UTC).date()
    requested = waiting = 0
    for key in reversed(pending) if models else ():
        if judgements.withdrawn(key):
            continue
        if requested >= room:
            waiting += 1
            continue
        again = f" {today}" if today - key.day <= dt.timedelta(days=discovery_window.look_back_days) else ""
        if str(key) not in with_patches:
            yield dg.RunRequest(run_key=f"patches {key}{again}", job_name=patches_job.name, partition_key=str(key))
            requested += 1
            continue
        for model in models:
            yield dg.RunRequest(
                run_key=f"land cover {model} {key}{again}",
                job_name=land_cover_job.name,
                partition_key=str(scene_model_key(key, model)),
            )
            requested += 1
    if waiting:
        context.log.info("%d scenes wait for a later tick: %d have active runs", waiting, len(under_way))
    if not requested:
        yield dg.SkipReason(
            f"nothing to request: {len(keys)} scenes, {len(models)} model versions, {len(under_way)} with active runs, "
            f"{waiting} waiting"
        )


def _parsed(context: dg.SensorEvaluationContext, parse: Callable[[str], KeyT], texts: Sequence[str]) -> list[KeyT]:
    """Parse and sort keys; log and skip a key that does not parse, such as one that was added by hand."""
    keys = []
    for text in texts:
        try:
            keys.append(parse(text))
        except InvalidKeyError as error:
            context.log.warning("partition %r is skipped: %s", text, error)
    return sorted(keys)
