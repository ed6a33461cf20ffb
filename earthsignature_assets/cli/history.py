"""`earthsignature catalogue tell-dagster`: what a new Dagster database must know of the products that there are."""

import datetime as dt

import dagster as dg
from rich.console import Console

from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.cli.chain import open_instance
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.resources.workspace import Workspace


def tell_dagster(settings: Settings, today: dt.date, console: Console) -> None:
    """Make the working window's published products partitions of Dagster, and materialised ones.

    What Dagster knows already is not told again. Retired model versions stay out.

    Args:
        settings: of the deployment; its window says how far back.
        today: the day that is not over (UTC).
        console: where the result is printed.

    Raises:
        StoreUnavailableError: the catalogue cannot be reached.
    """
    workspace = Workspace.of(settings)
    first, retired = today - dt.timedelta(days=settings.window_days), set(workspace.retired_models.all())
    with workspace.store.open_catalogue(read_only=True) as catalogue:
        products = [
            product
            for product in catalogue.all_products()
            if product.scene.day >= first and product.model not in retired
        ]
    with open_instance(settings.home) as instance:
        known = instance.get_materialized_partitions(land_cover_product.key)
        keyed = {str(scene_model_key(product.scene, product.model)): product for product in products}
        new = {key: product for key, product in keyed.items() if key not in known}
        instance.add_dynamic_partitions(str(scenes.name), sorted({str(one.scene) for one in products}))
        instance.add_dynamic_partitions(str(model_versions.name), sorted({str(one.model) for one in products}))
        with console.status(f"Telling Dagster of {len(new)} products"):
            for key, product in new.items():
                instance.report_runless_asset_event(_materialisation(key, product))
    console.print(f"{len(keyed)} products since {first}: Dagster was told of {len(new)} and knew the others")


def _materialisation(key: str, product: Product) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        land_cover_product.key,
        partition=key,
        description="told from the catalogue",
        metadata={
            "product": product.product_id,
            "folder": product.folder,
            "published_at": product.published_at.isoformat(),
        },
        tags={"dagster/partition/scene": str(product.scene), "dagster/partition/model_version": str(product.model)},
    )
