"""Retention: the nightly removal of expired transient folders.

Patches expire by age and by the disk budget, segmentations and drafts with the publication of their product. The inputs
of active runs stay: a Zarr store that loses chunks while it is read would read as no data.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import dagster as dg

from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.automation.runs import scenes_under_way
from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.imagery.patches.patch_retention import (
    TransientFolder,
    past_their_time,
    remove_folder,
    stored_folders,
)
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.resources.workspace import Workspace

KeyT = TypeVar("KeyT", SceneKey, ModelVersion)


@dg.op(name="remove_past_patches", out=dg.Out(dg.Nothing))
def remove_past_patches(context: dg.OpExecutionContext, workspace: Workspace) -> None:
    """Remove patch stores past their age or over the budget, and segmentations and drafts of published products."""
    now = dt.datetime.now(dt.UTC)
    with step_faults(context):
        stores = stored_folders(_children(workspace.patches_root))
        past = past_their_time(stores, workspace.retention, now)
        removed = _remove(context, past)
        published = [folder for folder in stored_folders(_published_folders(workspace)) if folder.quiet(now)]
        swept = _remove(context, published)
    freed = sum(folder.size_bytes for folder in (*removed, *swept))
    kept = sum(store.size_bytes for store in stores) - sum(store.size_bytes for store in removed)
    context.log.info("%d patch stores and %d published folders removed, %d bytes", len(removed), len(swept), freed)
    context.add_output_metadata(
        {
            "patch_stores_removed": len(removed),
            "published_folders_removed": len(swept),
            "bytes_freed": freed,
            "patch_stores_kept": len(stores) - len(removed),
            "patch_bytes_kept": kept,
            "removed": [folder.path.name for folder in removed],
        }
    )


@dg.job(name="patch_retention", description="Remove expired transient folders.")
def patch_retention_job() -> None:
    """Measure, choose and remove folders in one step."""
    remove_past_patches()


nightly_patch_retention = dg.ScheduleDefinition(
    name="nightly_patch_retention",
    job=patch_retention_job,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="Every night (UTC): remove expired patches, and segmentations and drafts of published products.",
)


def _remove(context: dg.OpExecutionContext, folders: Iterable[TransientFolder]) -> list[TransientFolder]:
    removed = []
    for folder in folders:
        # Queried before each removal: the whole takes minutes, and runs start meanwhile.
        if any(scene in folder.path.name for scene in scenes_under_way(context.instance)):
            context.log.info("%s stays: a run of its scene is active", folder.path)
            continue
        remove_folder(folder)
        context.log.info("%s removed: %d bytes, last written %s", folder.path, folder.size_bytes, folder.written_at)
        removed.append(folder)
    return removed


def _children(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _published_folders(workspace: Workspace) -> Iterator[Path]:
    """Yield the segmentations and drafts with a product in the catalogue."""
    found = [
        (path, scene, model)
        for root in (workspace.segmentations_root, workspace.drafts_root)
        for folder in _children(root)
        if (model := _parsed(ModelVersion.parse, folder.name)) is not None
        for path in _children(folder)
        if (scene := _parsed(SceneKey.parse, path.name.removesuffix(".zarr"))) is not None
    ]
    if not found:
        return
    with workspace.store.open_catalogue() as catalogue:
        products = {
            (product.scene, product.model)
            for model in {model for _, _, model in found}
            for product in catalogue.search(ProductQuery(model=model))
        }
    for path, scene, model in found:
        if (scene, model) in products:
            yield path


def _parsed(parse: Callable[[str], KeyT], text: str) -> KeyT | None:
    """Parse the key in the name of a folder; None for foreign and unfinished folders."""
    try:
        return parse(text)
    except InvalidKeyError:
        return None
