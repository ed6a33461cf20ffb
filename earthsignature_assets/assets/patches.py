"""`patches`: the ten bands of a scene, harmonised on one 10 m grid and split."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.metadata import OWNERS, picture, table
from earthsignature_assets.assets.progress import progress_of
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.models.input_range import band_quantiles
from earthsignature_assets.partitions import scenes
from earthsignature_assets.pictures import true_colour
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.provider_slots import PROVIDER_POOL, provider_slot
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.system.locks import locked

# A scene belongs to one day and a day has many scenes. Dagster has no mapping for this, so the dependency is drawn
# without one. A scene without items or verdict fails with its own message.
_ANY_DAY = dg.AssetDep(clear_scenes, partition_mapping=dg.SpecificPartitionsPartitionMapping([]))


@dg.asset(
    partitions_def=scenes,
    deps=[_ANY_DAY],
    group_name="imagery",
    code_version="1",
    tags={"retention": "transient"},
    owners=OWNERS,
    kinds={"zarr"},
    pool=PROVIDER_POOL,
)
def patches(
    context: dg.AssetExecutionContext, imagery: ImagerySource, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Ten bands of surface reflectance × 10000 with cloud and no-data masks: a Zarr store, one chunk a patch."""
    with step_faults(context):
        key = SceneKey.parse(context.partition_key)
        with _locked(workspace.patches(key)):
            return dg.MaterializeResult(metadata=_fetch(context, key, imagery, workspace))


def stored_patches(
    context: dg.AssetExecutionContext, key: SceneKey, imagery: ImagerySource, workspace: Workspace
) -> PatchStore:
    """Open the patches of a scene; fetch them again if retention removed them, and record this for `patches`.

    Raises:
        EarthSignatureError: the patches are missing and cannot be fetched.
    """
    path = workspace.patches(key)
    with _locked(path):
        if not path.is_dir():
            context.log.info("the patches of %s were removed: fetching them again", key)
            metadata = _fetch(context, key, imagery, workspace)
            context.log_event(dg.AssetMaterialization(patches.key, partition=str(key), metadata=metadata))
        return PatchStore(path)


def _fetch(
    context: dg.AssetExecutionContext, key: SceneKey, imagery: ImagerySource, workspace: Workspace
) -> dict[str, Any]:
    """Write the patches of a scene; return their metadata for the UI."""
    scene = workspace.days.scene(key, imagery.provider, S2_BANDS)
    verdict = workspace.days.verdict(key)
    with provider_slot(context, workspace.patches_root):
        summary = write_patches(
            scene,
            S2_BANDS,
            workspace.patches(key),
            masks=imagery.policy.masks,
            progress=progress_of(context, str(key), "rows"),
        )
    store = PatchStore(workspace.patches(key))
    overview = store.overview()
    red, green, blue = (overview[S2_BANDS.index(band)] for band in ("B04", "B03", "B02"))
    return {
        "product": scene.product_id,
        "source": scene.source,
        "items": ", ".join(part.item_id for part in scene.parts),
        "baseline": "{:02d}.{:02d}".format(*scene.parts[0].baseline),
        "offset_added": scene.parts[0].bands["B04"].offset_dn,
        "cloud_percent": round(verdict.cloud_percent, 2),
        "valid_percent": round(100 * summary.valid_pixels / summary.pixels, 2),
        "patches_with_data": summary.patches_with_data,
        "patches": summary.patches,
        "size_mb": round(store.size_bytes / 1e6, 1),
        "seconds": round(summary.seconds, 2),
        "true_colour": picture(true_colour(red, green, blue)),
        "bands": _band_table(store),
    }


def _band_table(store: PatchStore) -> dg.TableMetadataValue:
    """Tabulate the quantiles of the ground's reflectance by band, in which drift is visible."""
    pixels = store.clear_overview()
    ranges = band_quantiles(pixels) if pixels.size else []
    return table([{"band": band, **asdict(found)} for band, found in zip(store.bands, ranges, strict=False)])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Allow one fetch of a scene at a time over all processes; 256 lock files serve all scenes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".lock-{zlib.crc32(path.name.encode()) % 256}")):
        yield
