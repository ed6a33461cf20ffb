"""`land_cover_product`: the moment at which readers see a product."""

import dagster as dg

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.land_cover_polygons import land_cover_polygons
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.metadata import table
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.resources.workspace import Workspace


@scene_model_asset(
    deps=[land_cover_raster, land_cover_polygons],
    group_name="land_cover",
    kinds={"stac", "sqlite"},
)
def land_cover_product(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[None]:
    """Validated, checksummed and published at once: the files, the STAC item, the catalogue row."""

    def make(key: SceneKey, model: ModelVersion) -> Metadata:
        store = workspace.store
        product = store.publish(Draft.load(workspace.draft(key, model)))
        sizes = {asset: store.path(product, asset).stat().st_size for asset in Asset}
        return {
            "product": product.product_id,
            "model": str(product.model),
            "folder": product.folder,
            "served_by_default": product.current,
            "published_at": product.published_at.isoformat(),
            "cloud_cover_percent": round(product.cloud_cover_percent, 2),
            "files": table([{"file": asset.value, "kilobytes": size // 1000} for asset, size in sizes.items()]),
            "stac_item": dg.MetadataValue.path(str(store.path(product, Asset.ITEM))),
        }

    return materialise_each(context, make)
