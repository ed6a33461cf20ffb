"""The sensor that limits the scene keys: Dagster has a working window, the catalogue is the archive."""

import datetime as dt

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.automation.runs import scenes_under_way
from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.partitions import scenes
from earthsignature_assets.resources.discovery_window import DiscoveryWindow


@dg.sensor(
    minimum_interval_seconds=3600,
    description="Removes the partitions of scenes whose last verdict is older than the window; products stay.",
)
def working_window(context: dg.SensorEvaluationContext, discovery_window: DiscoveryWindow) -> dg.SensorResult:
    """Remove the keys of scenes past the window and invalid keys; scenes of active runs stay.

    The window counts from the last verdict, not from the acquisition: a backfill of `clear_scenes` over old days
    restores their scenes for a whole window.
    """
    instance = context.instance
    now = _now()
    past, judged = [], dict[dt.date, dt.datetime | None]()
    under_way = scenes_under_way(instance)
    keys = instance.get_dynamic_partitions(str(scenes.name))
    for text in keys:
        try:
            day = SceneKey.parse(text).day
        except InvalidKeyError as error:
            context.log.warning("partition removed: %s", error)
            past.append(text)
            continue
        if text in under_way or now.date() - day <= dt.timedelta(days=discovery_window.window_days):
            continue
        if day not in judged:
            judged[day] = _last_judged(instance, day)
        last = judged[day]
        if last is None or now - last > dt.timedelta(days=discovery_window.window_days):
            past.append(text)
    return dg.SensorResult(
        skip_reason=f"{len(past)} of {len(keys)} scene keys removed",
        dynamic_partitions_requests=[scenes.build_delete_request(past)] if past else [],
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _last_judged(instance: dg.DagsterInstance, day: dt.date) -> dt.datetime | None:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=clear_scenes.key, asset_partitions=[day.isoformat()]), limit=1
    ).records
    return dt.datetime.fromtimestamp(records[0].timestamp, dt.UTC) if records else None
