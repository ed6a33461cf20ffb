"""The sensor that follows renewals: reprocessed scenes, and scenes with a late part of a datatake."""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import cast

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.automation.jobs import land_cover_job, patches_job
from earthsignature_assets.automation.judgements import Judgements
from earthsignature_assets.automation.runs import scenes_under_way
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

_MOST_EVENTS = 100
"""Maximum number of days with verdicts that one tick reads; the next tick continues."""


@dg.sensor(
    jobs=[patches_job, land_cover_job],
    minimum_interval_seconds=60,
    description="Requests the patches, then the products, of accepted scenes that were reprocessed or completed late.",
)
def renewed_scenes(
    context: dg.SensorEvaluationContext, discovery_window: DiscoveryWindow
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request the update of scenes with superseded sources: first the patches, then the product of each active model.

    The cursor has the last verdict event that was read and the waiting scenes: their current source, and the day since
    which they wait. The run keys contain the source, so nothing is requested twice, and a scene that is renewed again
    is requested again. A scene waits until its products are newer than its patches. Within the look-back window its run
    keys contain the day too, so that failed runs are retried daily; after it the sensor gives the scene up and logs it.
    A scene that is refused now does not wait.
    """
    instance = context.instance
    today = _today()
    seen, waiting = _read_cursor(context, today)
    judged = instance.fetch_materializations(
        dg.AssetRecordsFilter(clear_scenes.key, after_storage_id=seen), limit=_MOST_EVENTS, ascending=True
    ).records
    for record in judged:
        seen = record.storage_id
        renewed = record.asset_materialization.metadata.get("renewed") if record.asset_materialization else None
        for key, source in cast("dict[str, str]", renewed.value).items() if renewed is not None else ():
            waiting[key] = {"source": source, "since": today.isoformat()}
    keys = set(instance.get_dynamic_partitions(str(scenes.name)))
    models = [ModelVersion.parse(text) for text in instance.get_dynamic_partitions(str(model_versions.name))]
    under_way = scenes_under_way(instance)
    judgements = Judgements(instance)
    requested = 0
    for key, renewal in sorted(waiting.items(), reverse=True):
        if key in under_way:
            continue
        stays = key in keys and not judgements.withdrawn(SceneKey.parse(key))
        wanted = list(_wanted(instance, key, renewal["source"], models)) if stays else []
        waits = today - dt.date.fromisoformat(renewal["since"])
        if wanted and waits > dt.timedelta(days=discovery_window.look_back_days):
            context.log.warning("%s is given up: its update from %s keeps failing", key, renewal["source"])
            wanted = []
        if not wanted:
            del waiting[key]
        again = f" {today}" if waits else ""
        for what, job, partition in wanted:
            requested += 1
            yield dg.RunRequest(
                run_key=f"{what} {key} {renewal['source']}{again}", job_name=job, partition_key=partition
            )
    context.update_cursor(json.dumps({"seen": seen, "waiting": waiting}))
    if not requested:
        yield dg.SkipReason(f"nothing to request: {len(waiting)} renewed scenes wait for active runs")


def _read_cursor(context: dg.SensorEvaluationContext, today: dt.date) -> tuple[int, dict[str, dict[str, str]]]:
    """Parse the last verdict event that was read and the waiting scenes.

    Cursors of earlier versions have the source of a waiting scene and not the day: it is today. If a cursor cannot be
    read, the sensor reads all verdicts again; updated scenes are found complete.
    """
    try:
        state = json.loads(context.cursor or '{"seen": 0, "waiting": {}}')
        waiting = {
            str(key): {
                "source": str(renewal if isinstance(renewal, str) else renewal["source"]),
                "since": today.isoformat() if isinstance(renewal, str) else str(renewal["since"]),
            }
            for key, renewal in state["waiting"].items()
        }
        return int(state["seen"]), waiting
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        context.log.warning("the cursor cannot be read (%r): reading all verdicts again", error)
        return 0, {}


def _wanted(
    instance: dg.DagsterInstance, key: str, source: str, models: Sequence[ModelVersion]
) -> Iterator[tuple[str, str, str]]:
    """Yield name, job and partition of each missing update of a scene; nothing if it is complete."""
    fetched = _latest(instance, patches.key, key)
    if fetched is None or _source(fetched) != source:
        yield "patches", patches_job.name, key
        return
    for model in models:
        partition = scene_model_key(SceneKey.parse(key), model)
        made = _latest(instance, land_cover_product.key, partition)
        if made is None or made.storage_id < fetched.storage_id:
            yield f"land cover {model}", land_cover_job.name, partition


def _latest(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str) -> dg.EventLogRecord | None:
    """Return the last materialisation of a partition; None if there is none."""
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[partition])
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _source(record: dg.EventLogRecord) -> str:
    """Return the source of patches from their metadata."""
    source = record.asset_materialization.metadata.get("source") if record.asset_materialization else None
    return str(source.value) if source else ""


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
