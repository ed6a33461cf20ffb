"""`land_cover_raster`: the rasters of a product and its picture, in the draft."""

import dagster as dg
import numpy as np

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.checks.finding import Finding
from earthsignature_assets.assets.checks.raster import SPECS, check_rasters, earlier_of_tile
from earthsignature_assets.assets.metadata import Materialised, class_table, picture
from earthsignature_assets.assets.patches import stored_patches
from earthsignature_assets.assets.segmentation import segmentation
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.mlm_item import mlm_item
from earthsignature_assets.pictures import Panel, land_cover, side_by_side, true_colour
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.rasters.cog import class_areas, write_rasters
from earthsignature_assets.products.rasters.thumbnail import write_thumbnail
from earthsignature_assets.resources.cartography import Cartography
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS


@scene_model_asset(
    deps=[segmentation],
    check_specs=SPECS,
    group_name="land_cover",
    code_version="1",
    tags={"retention": "transient"},
    kinds={"geotiff"},
)
def land_cover_raster(
    context: dg.AssetExecutionContext,
    imagery: ImagerySource,
    engine: InferenceEngine,
    workspace: Workspace,
    cartography: Cartography,
) -> Materialised:
    """Cloud-optimised GeoTIFFs of CORINE codes, confidence and cloud mask, and a picture in official colours."""

    def make(key: SceneKey, model: ModelVersion) -> Metadata:
        scene = workspace.days.scene(key, imagery.provider, S2_BANDS)
        patches = stored_patches(context, key, imagery, workspace)
        segments = SegmentationStore(workspace.segmentation(key, model))
        description = engine.repository.describe(model)
        codes = description.code_table[segments.class_index]
        first = scene.parts[0]
        draft = Draft(
            folder=workspace.draft(key, model),
            product_id=scene.product_id,
            scene=key,
            model=model,
            product_type=first.product_type,
            sensed_at=first.sensed_at,
            footprint=scene.footprint,
            cloud_cover_percent=workspace.days.verdict(key).cloud_percent,
            source_hrefs=tuple(part.href or part.item_id for part in scene.parts),
            grid=scene.grid,
            model_item=mlm_item(description, engine.repository.folder(model)),
            model_folder=engine.repository.folder(model),
        )
        draft.save()
        write_rasters(draft, codes, segments.confidence, patches.unreliable(), cartography.codec)
        write_thumbnail(draft.path(Asset.THUMBNAIL), codes)
        areas = class_areas(codes, scene.grid)
        reflectance = patches.overview()
        red, green, blue = (reflectance[S2_BANDS.index(band)] for band in ("B04", "B03", "B02"))
        step = patches.overview_step
        sheet = side_by_side(
            [Panel("input", true_colour(red, green, blue)), Panel("land cover", land_cover(codes[::step, ::step]))],
            legend=sorted(areas),
            title=f"{key}  {model}",
            panel_height=320,
        )
        return {
            "product": scene.product_id,
            "classes": class_table(areas),
            "valid_percent": round(100 * float(np.count_nonzero(codes)) / codes.size, 2),
            "land_cover_kb": draft.path(Asset.LAND_COVER).stat().st_size // 1000,
            "confidence_kb": draft.path(Asset.CONFIDENCE).stat().st_size // 1000,
            "cloud_mask_kb": draft.path(Asset.CLOUD_MASK).stat().st_size // 1000,
            "picture": picture(sheet),
        }

    def check(key: SceneKey, model: ModelVersion) -> list[Finding]:
        draft = Draft.load(workspace.draft(key, model))
        patches = stored_patches(context, key, imagery, workspace)
        history = earlier_of_tile(draft, workspace.store)
        return check_rasters(draft, engine.repository.describe(model), patches, history)

    return materialise_each(context, make, check)
