"""`discovered_items`: every Sentinel-2 item of the provider for a day over the area of interest."""

import datetime as dt
from collections import Counter

import dagster as dg

from earthsignature_assets.assets.metadata import OWNERS
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.partitions import day_of, days
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.provider_slots import PROVIDER_POOL, provider_slot
from earthsignature_assets.resources.workspace import Workspace

DAILY = dg.FreshnessPolicy.time_window(warn_window=dt.timedelta(hours=30), fail_window=dt.timedelta(hours=54))
"""One missed morning is a warning, two are a failure."""


@dg.asset(
    partitions_def=days,
    group_name="imagery",
    code_version="1",
    tags={"retention": "kept"},
    owners=OWNERS,
    kinds={"stac"},
    pool=PROVIDER_POOL,
    freshness_policy=DAILY,
)
def discovered_items(
    context: dg.AssetExecutionContext, imagery: ImagerySource, engine: InferenceEngine, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Every Sentinel-2 item of the day over the area of interest, as stac-geoparquet."""
    with step_faults(context), provider_slot(context, workspace.patches_root):
        day = day_of(context.partition_key)
        engine.check_level(imagery.provider.level, f"provider {imagery.provider.name}")
        discovered = imagery.discover(day)
        items = discovered.items
        added = workspace.days.add_items(day, items)
        context.log.info("%s: %d items found, %d of them new, %d updated", day, len(items), added.new, added.updated)
        if discovered.disobeys:
            context.log.warning("%s also listed %s: dropped", imagery.provider.name, discovered.dropped_text)
    platforms = Counter(str(item["properties"].get("platform", "unknown")) for item in items)
    return dg.MaterializeResult(
        metadata={
            "items": len(items),
            "new_items": added.new,
            "updated_items": added.updated,
            "dropped_items": discovered.dropped_text or "none",
            "known_items": len(workspace.days.items(day)),
            "tiles": len({str(item["properties"].get("grid:code")) for item in items}),
            "platforms": ", ".join(f"{name} {count}" for name, count in sorted(platforms.items())) or "none",
            "provider": imagery.provider.name,
            "stac_api": imagery.provider.api_url,
            "collection": imagery.provider.collection,
        }
    )
