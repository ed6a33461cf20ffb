"""What follows when a scene is made from other products than before: a reprocessing, or the late part of a datatake."""

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
"""Most judged days that one tick looks at; the next tick goes on."""


@dg.sensor(
    jobs=[patches_job, land_cover_job],
    minimum_interval_seconds=60,
    description="Asks for the patches, then the products, of accepted scenes that were reprocessed or completed late.",
)
def renewed_scenes(
    context: dg.SensorEvaluationContext, discovery_window: DiscoveryWindow
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Request what is made from superseded products anew: the patches first, then each active model's product.

    The cursor holds the last judged day that was seen, and the scenes that wait: what they are made from now, and since
    when they wait. The run keys carry what they are made from, so nothing is asked for twice, and a scene that is
    renewed again is asked for again. A scene waits until its products are younger than its new patches; as long as the
    look-back window its run keys carry the day too, so that what failed is tried again each day, and then it is given
    up and named in the log. One that is refused by now waits no longer.
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
            context.log.warning("%s is given up: its renewal from %s keeps failing", key, renewal["source"])
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
        yield dg.SkipReason(f"no renewed scene can go on: {len(waiting)} wait for runs under way")


def _read_cursor(context: dg.SensorEvaluationContext, today: dt.date) -> tuple[int, dict[str, dict[str, str]]]:
    """The last judged day that was seen, and the scenes that wait.

    Cursors of before say of a waiting scene what it is made from and not since when: since today. Where a cursor cannot
    be read at all every judged day is looked at again: what has been made anew meanwhile is found done.
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
        context.log.warning("the cursor cannot be read (%r), so every judged day is looked at again", error)
        return 0, {}


def _wanted(
    instance: dg.DagsterInstance, key: str, source: str, models: Sequence[ModelVersion]
) -> Iterator[tuple[str, str, str]]:
    """What a renewed scene lacks: what it is, its job and its partition. Nothing where all has been made anew."""
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
    """The last materialisation of a partition; None where it never was."""
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[partition])
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _source(record: dg.EventLogRecord) -> str:
    """What patches were made from, as they say."""
    source = record.asset_materialization.metadata.get("source") if record.asset_materialization else None
    return str(source.value) if source else ""


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
