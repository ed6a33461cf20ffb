"""`land_cover_product`: the moment at which readers see a product."""

import dagster as dg

from earthsignature_assets.assets.faults import step_faults
from earthsignature_assets.assets.land_cover_polygons import land_cover_polygons
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.metadata import table
from earthsignature_assets.partitions import scene_and_model, scene_models
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.resources.workspace import Workspace


@dg.asset(
    partitions_def=scene_models,
    deps=[land_cover_raster, land_cover_polygons],
    group_name="land_cover",
    kinds={"stac", "sqlite"},
)
def land_cover_product(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[None]:
    """Validated, checksummed and published at once: the files, the STAC item, the catalogue row."""
    with step_faults(context):
        key, model = scene_and_model(context.partition_key)
        store = workspace.store
        product = store.publish(Draft.load(workspace.draft(key, model)))
        sizes = {asset: store.path(product, asset).stat().st_size for asset in Asset}
    return dg.MaterializeResult(
        metadata={
            "product": product.product_id,
            "model": str(product.model),
            "folder": product.folder,
            "served_by_default": product.current,
            "published_at": product.published_at.isoformat(),
            "cloud_cover_percent": round(product.cloud_cover_percent, 2),
            "files": table([{"file": asset.value, "kilobytes": size // 1000} for asset, size in sizes.items()]),
            "stac_item": dg.MetadataValue.path(str(store.path(product, Asset.ITEM))),
        }
    )
