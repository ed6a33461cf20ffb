"""`clear_scenes`: the verdict on each scene of a day; accepted scenes become partition keys."""

import dagster as dg

from earthsignature_assets.assets.checks.clouds import SPECS, check_clouds
from earthsignature_assets.assets.checks.finding import check_results
from earthsignature_assets.assets.discovered_items import DAILY, discovered_items
from earthsignature_assets.assets.metadata import OWNERS, Materialised, picture, table
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.imagery.days.day_map import draw_day
from earthsignature_assets.imagery.days.scene_verdicts import judge_day
from earthsignature_assets.partitions import day_of, days, scenes
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.provider_slots import PROVIDER_POOL, provider_slot
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS


@dg.asset(
    partitions_def=days,
    deps=[discovered_items],
    check_specs=SPECS,
    freshness_policy=DAILY,
    group_name="imagery",
    code_version="1",
    tags={"retention": "kept"},
    owners=OWNERS,
    kinds={"rasterio"},
    pool=PROVIDER_POOL,
)
def clear_scenes(context: dg.AssetExecutionContext, imagery: ImagerySource, workspace: Workspace) -> Materialised:
    """Cloud cover of each scene and a verdict with its reason; accepted scenes become partitions."""
    with step_faults(context), provider_slot(context, workspace.patches_root):
        day = day_of(context.partition_key)
        verdicts = judge_day(
            workspace.days.items(day), imagery.provider, S2_BANDS, imagery.policy, workspace.days.verdicts(day)
        )
        workspace.days.write_verdicts(day, verdicts.scenes)
    for item_id, reason in verdicts.unusable.items():
        context.log.warning("item %s is not used: %s", item_id, reason)
    accepted = [str(verdict.key) for verdict in verdicts.accepted]
    context.instance.add_dynamic_partitions(str(scenes.name), accepted)
    metadata: dict[str, dg.MetadataValue | int] = {
        "scenes": len(verdicts.scenes),
        "accepted": len(accepted),
        "refused": len(verdicts.scenes) - len(accepted),
        "superseded_items": len(verdicts.superseded),
        "unusable_items": len(verdicts.unusable),
        "classifications_read": verdicts.read,
    }
    renewed = {str(verdict.key): verdict.source for verdict in verdicts.accepted if verdict.key in verdicts.renewed}
    if renewed:
        metadata["renewed"] = dg.MetadataValue.json(renewed)
    refused = {str(verdict.key) for verdict, _ in verdicts.scenes if not verdict.accepted}
    if withdrawn := sorted(refused.intersection(context.instance.get_dynamic_partitions(str(scenes.name)))):
        metadata["withdrawn"] = dg.MetadataValue.json(withdrawn)
    if verdicts.unusable:
        metadata["unusable"] = table([{"item": name, "reason": why} for name, why in verdicts.unusable.items()])
    if verdicts.scenes:
        metadata["verdicts"] = table(
            [
                {
                    "scene": str(verdict.key),
                    "accepted": verdict.accepted,
                    "cloud %": round(verdict.cloud_percent, 1),
                    "provider says %": _rounded(verdict.provider_cloud_percent),
                    "clear %": round(verdict.clear_percent, 1),
                    "reason": verdict.reason,
                }
                for verdict, _ in verdicts.scenes
            ]
        )
        title = f"{day}: {len(accepted)} of {len(verdicts.scenes)} scenes clear enough"
        metadata["map"] = picture(draw_day(title, verdicts.scenes))
    checked = check_clouds([verdict for verdict, _ in verdicts.scenes])
    return dg.MaterializeResult(metadata=metadata, check_results=check_results({str(day): [checked]}))


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 1)
