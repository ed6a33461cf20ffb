"""Checks of `land_cover_product`: readers see the files that were written."""

import json
from typing import Any

from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.item import asset_checksums, multihash
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.products.validation import validate_item

SPECS = [
    check_spec("checksums", "land_cover_product", "Each file has the SHA-256 of its STAC item.", blocking=True),
    check_spec("stac_item", "land_cover_product", "The item is valid STAC and lists every file.", blocking=True),
]


def check_product(product: Product, store: ProductStore) -> list[Finding]:
    """Check a published product as a reader sees it."""
    item = json.loads(store.read(product, Asset.ITEM))
    return [_checksums(product, store, item), _stac_item(item)]


def _checksums(product: Product, store: ProductStore, item: dict[str, Any]) -> Finding:
    total = 0
    for asset, (checksum, size) in asset_checksums(item).items():
        try:
            content = store.read(product, asset)
        except ProductError as error:
            return Finding("checksums", False, str(error))
        if len(content) != size or multihash(content) != checksum:
            return Finding("checksums", False, f"{asset.value} in {product.folder} differs from the published file")
        total += size
    return Finding("checksums", True, f"{total} bytes as published", {"bytes": total})


def _stac_item(item: dict[str, Any]) -> Finding:
    try:
        validate_item(item)
    except ProductError as error:
        return Finding("stac_item", False, str(error))
    return Finding("stac_item", True, f"STAC {item['stac_version']}")
