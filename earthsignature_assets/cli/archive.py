"""The commands that keep the archive of published products: verify, sweep, catalogue."""

import datetime as dt
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from earthsignature_assets.cli.options import MOST_LINES, deployment_options, store_of
from earthsignature_assets.cli.progress import progress_bar
from earthsignature_assets.errors import ProductError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.system.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from earthsignature_assets.products.product import Product

# A command imports what it needs when it runs: `--help` answers at once.


@click.command()
@deployment_options
def verify(settings: Settings) -> None:
    """Check every checksum and class code of every product again; name the damaged files."""
    from earthsignature_assets.products.store.verification import verify as verify_products

    console, store = Console(), store_of(settings)
    damaged = checked = 0
    with store.open_catalogue(read_only=True) as catalogue, progress_bar(console, "Verifying") as progress:
        total = sum(1 for _ in catalogue.folders())
        for product, damages in verify_products(store.storage, catalogue):
            for damage in damages:
                console.print(f"{store.address(product, damage.asset)} {damage.fault}", soft_wrap=True, highlight=False)
            damaged += bool(damages)
            checked += 1
            progress(checked, total)
    if damaged:
        raise ProductError(
            f"{damaged} of {checked} products are damaged: restore their files, or materialise `land_cover_product` of "
            "their partitions again, which repairs them"
        )
    console.print(f"{checked} products: every file is as published, every code is one of the 44")


@click.command()
@click.option(
    "--older-than", "hours", type=click.FloatRange(0), default=24.0, show_default=True, help="Hours of grace."
)
@deployment_options
def sweep(settings: Settings, hours: float) -> None:
    """Remove superseded content and the remains of interrupted publications."""
    console, store = Console(), store_of(settings)
    with console.status("Looking for folders that no reader needs"):
        removed = store.sweep(dt.timedelta(hours=hours))
    _print_lines(console, removed)
    console.print(f"{len(removed)} folders removed")


@click.group()
def catalogue() -> None:
    """Rebuild or export the catalogue of the published products."""


@catalogue.command("rebuild")
@deployment_options
def rebuild_catalogue(settings: Settings) -> None:
    """Make the catalogue match the store, from the items of the products alone."""
    from earthsignature_assets.products.store.rebuild import rebuild

    console, store = Console(), store_of(settings)
    with store.open_catalogue() as catalogue:
        with progress_bar(console, "Reading items") as progress:
            read = count(1)
            report = rebuild(store.storage, catalogue, lambda _: progress(next(read), None))
        promotions = catalogue.promotions()
    _print_lines(console, [f"{folder}: {reason}" for folder, reason in report.damaged])
    console.print(
        f"{report.products} products in the store: {len(report.recorded)} recorded, "
        f"{len(report.forgotten)} rows without files removed"
    )
    if promotions:
        console.print(
            f"{promotions[0].model} is promoted (by {promotions[0].who}); `earthsignature models promote` changes it"
        )
    if report.damaged:
        raise ProductError(f"{len(report.damaged)} folders could not be used: restore them, or let `sweep` remove them")


@catalogue.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", help="Model version; by default the current one of each scene.")
@deployment_options
def export_catalogue(settings: Settings, folder: Path, model: str | None) -> None:
    """Write a static STAC catalogue, with stac-geoparquet, into FOLDER."""
    from earthsignature_assets.products.static_catalogue import export_stac

    console, store, version = Console(), store_of(settings), ModelVersion.parse(model) if model else None
    with store.open_catalogue(read_only=True) as catalogue, progress_bar(console, "Exporting") as progress:
        total, done = catalogue.count(version), count(1)
        written = export_stac(store, catalogue, folder, version, lambda _: progress(next(done), total))
    console.print(f"{written} items in [bold]{folder / 'catalog.json'}[/]")


@catalogue.command("tell-dagster")
@deployment_options
def tell_dagster(settings: Settings) -> None:
    """Report the working window's products to a new Dagster database, so that they are not made again.

    Products that Dagster knows are left as they are. Retired model versions stay out.
    """
    from earthsignature_assets.assets.land_cover_product import land_cover_product
    from earthsignature_assets.cli.chain import open_instance
    from earthsignature_assets.partitions import model_versions, scene_model_key, scenes
    from earthsignature_assets.resources.workspace import Workspace

    console, workspace = Console(), Workspace.of(settings)
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=settings.window_days)
    retired = set(workspace.retired_models.all())
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
        with console.status(f"Reporting {len(new)} products to Dagster"):
            for key, product in new.items():
                instance.report_runless_asset_event(_materialisation(land_cover_product.key, key, product))
    console.print(
        f"{len(keyed)} products since {first}: {len(new)} reported to Dagster, {len(keyed) - len(new)} known to it"
    )


def _materialisation(asset: "dg.AssetKey", key: str, product: "Product") -> "dg.AssetMaterialization":
    import dagster as dg

    return dg.AssetMaterialization(
        asset,
        partition=key,
        description="reported from the catalogue",
        metadata={
            "product": product.product_id,
            "folder": product.folder,
            "published_at": product.published_at.isoformat(),
        },
        tags={"dagster/partition/scene": str(product.scene), "dagster/partition/model_version": str(product.model)},
    )


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:MOST_LINES]:
        console.print(line, soft_wrap=True, highlight=False)
    if len(lines) > MOST_LINES:
        console.print(f"… and {len(lines) - MOST_LINES} more")
