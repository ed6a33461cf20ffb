"""`segmentation`: the class and the confidence of every valid pixel by one model version."""

import dagster as dg

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.checks.drift import INPUT_SPECS, check_input
from earthsignature_assets.assets.checks.finding import Finding
from earthsignature_assets.assets.metadata import Materialised, class_table
from earthsignature_assets.assets.patches import patches, stored_patches
from earthsignature_assets.assets.progress import progress_of
from earthsignature_assets.inference.segmentation import segment_scene
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


@scene_model_asset(
    deps=[patches],
    check_specs=INPUT_SPECS,
    group_name="land_cover",
    code_version="1",
    tags={"retention": "transient"},
    kinds={"onnx", "zarr"},
    pool="inference",
)
def segmentation(
    context: dg.AssetExecutionContext, imagery: ImagerySource, engine: InferenceEngine, workspace: Workspace
) -> Materialised:
    """Class index and confidence of each pixel. Windows with a halo go through the model where there is data."""

    def make(scene: SceneKey, model: ModelVersion) -> Metadata:
        store = stored_patches(context, scene, imagery, workspace)
        with engine.open(model) as opened:
            summary = segment_scene(
                store,
                opened,
                workspace.segmentation(scene, model),
                progress=progress_of(context, f"{scene} {model}", "windows"),
            )
        pixel_area_m2 = store.grid.pixel_area_m2
        return {
            "model": str(model),
            "valid_pixels": summary.valid_pixels,
            "windows": summary.windows,
            "windows_without_data": summary.windows_skipped,
            "mean_confidence_percent": round(summary.mean_confidence_percent, 1),
            "classes": class_table({code: n * pixel_area_m2 for code, n in summary.pixels_by_code.items()}),
            "seconds": round(summary.seconds, 2),
            "megapixels_per_second": round(summary.valid_pixels / 1e6 / max(summary.seconds, 1e-9), 2),
        }

    def check(scene: SceneKey, model: ModelVersion) -> list[Finding]:
        store = stored_patches(context, scene, imagery, workspace)
        return [check_input(store.clear_overview(), engine.repository.describe(model))]

    return materialise_each(context, make, check)
