"""The jobs: the assets that one run of a partition materialises."""

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.discovered_items import discovered_items
from earthsignature_assets.assets.land_cover_polygons import land_cover_polygons
from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.patches import patches
from earthsignature_assets.assets.segmentation import segmentation

discovery_job = dg.define_asset_job(
    "discovery", [discovered_items, clear_scenes], description="A day: find its scenes and give verdicts."
)
patches_job = dg.define_asset_job("scene_patches", [patches], description="A scene: fetch, harmonise and split it.")
land_cover_job = dg.define_asset_job(
    "land_cover",
    [segmentation, land_cover_raster, land_cover_polygons, land_cover_product],
    description="A scene × model version: segment, write the outputs, publish.",
)
