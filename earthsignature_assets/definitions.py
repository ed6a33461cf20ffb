"""The Dagster code location: assets, jobs, automation and resources put together."""

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.discovered_items import discovered_items
from earthsignature_assets.assets.land_cover_polygons import land_cover_polygons
from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.model_evaluation import model_evaluation
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.assets.segmentation import segmentation
from earthsignature_assets.assets.trained_model import trained_model
from earthsignature_assets.assets.training_set import training_set
from earthsignature_assets.automation.jobs import discovery_job, land_cover_job, patches_job
from earthsignature_assets.automation.model_versions import registered_models
from earthsignature_assets.automation.renewed_scenes import renewed_scenes
from earthsignature_assets.automation.retention import nightly_patch_retention, patch_retention_job
from earthsignature_assets.automation.schedules import daily_discovery
from earthsignature_assets.automation.sensors import accepted_scenes
from earthsignature_assets.automation.working_window import working_window
from earthsignature_assets.resources.cartography import Cartography
from earthsignature_assets.resources.discovery_window import DiscoveryWindow
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.system.closed_environment import close_environment
from earthsignature_assets.system.settings import Settings


def definitions(settings: Settings) -> dg.Definitions:
    """Assemble the code location of a deployment."""
    return dg.Definitions(
        assets=[
            discovered_items,
            clear_scenes,
            patches,
            segmentation,
            land_cover_raster,
            land_cover_polygons,
            land_cover_product,
            training_set,
            trained_model,
            model_evaluation,
        ],
        jobs=[discovery_job, patches_job, land_cover_job, patch_retention_job],
        schedules=[daily_discovery, nightly_patch_retention],
        sensors=[accepted_scenes, renewed_scenes, registered_models, working_window],
        resources={
            "workspace": Workspace.of(settings),
            "imagery": ImagerySource.of(settings),
            "engine": InferenceEngine.of(settings),
            "cartography": Cartography.of(settings),
            "discovery_window": DiscoveryWindow.of(settings),
        },
        executor=dg.in_process_executor,
    )


close_environment()
defs = definitions(Settings.load())
