"""`land_cover_product`: the publication of a product, which makes it visible to readers."""

import dagster as dg

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.checks.finding import Finding
from earthsignature_assets.assets.checks.product import SPECS, check_product
from earthsignature_assets.assets.land_cover_polygons import land_cover_polygons
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.metadata import Materialised, table
from earthsignature_assets.errors import ProductError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.resources.workspace import Workspace


@scene_model_asset(
    deps=[land_cover_raster, land_cover_polygons],
    check_specs=SPECS,
    group_name="land_cover",
    code_version="1",
    tags={"retention": "kept"},
    kinds={"stac", "sqlite"},
)
def land_cover_product(context: dg.AssetExecutionContext, workspace: Workspace) -> Materialised:
    """Publication of a validated and checksummed product: files, STAC item and catalogue row, all at once."""

    def make(key: SceneKey, model: ModelVersion) -> Metadata:
        store = workspace.store
        product = store.publish(Draft.load(workspace.draft(key, model)))
        sizes = store.sizes(product)
        return {
            "product": product.product_id,
            "model": str(product.model),
            "folder": product.folder,
            "served_by_default": product.current,
            "published_at": product.published_at.isoformat(),
            "cloud_cover_percent": round(product.cloud_cover_percent, 2),
            "files": table([{"file": asset.value, "kilobytes": size // 1000} for asset, size in sizes.items()]),
            "stac_item": dg.MetadataValue.path(store.address(product, Asset.ITEM)),
        }

    def check(key: SceneKey, model: ModelVersion) -> list[Finding]:
        store, product_id = workspace.store, Draft.load(workspace.draft(key, model)).product_id
        with store.open_catalogue(read_only=True) as catalogue:
            product = catalogue.find(product_id, model)
        if product is None:
            raise ProductError(
                f"{product_id} by {model} is not in the catalogue: run `earthsignature catalogue rebuild`"
            )
        return check_product(product, store)

    return materialise_each(context, make, check)
