"""Names, sizes and checksums of a product's files in version 3."""

import hashlib
import json
from typing import Any

from earthsignature_assets.errors import ProductError, QueryError
from earthsignature_assets.products.item import MEDIA_TYPES, asset_checksums
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.reading.product_reader import ProductReader

_SHA256_MULTIHASH = "1220"  # function and length, before the digest


def asset_name(asset: Asset) -> str:
    """Return the name of a file in version 3, such as `land_cover`."""
    return asset.name.lower()


def parse_asset(name: str) -> Asset:
    """Parse the name of a file.

    Raises:
        QueryError: products have no file of this name.
    """
    for asset in Asset:
        if asset_name(asset) == name:
            return asset
    raise QueryError("asset", f"{name!r} is not a file of a product; give one of {', '.join(map(asset_name, Asset))}")


def described_assets(reader: ProductReader, product: Product) -> list[dict[str, Any]]:
    """Return the fields of each file's `Asset` message, ordered by name.

    Checksums come from the product's STAC item, where publication wrote them; only that of the item is computed.

    Raises:
        ProductError: the item is missing or damaged.
        StoreUnavailableError: the item cannot be read.
    """
    content = reader.read(product, Asset.ITEM)
    try:
        published = asset_checksums(json.loads(content))
        digests = {asset: multihash.removeprefix(_SHA256_MULTIHASH) for asset, (multihash, _) in published.items()}
        sizes = {asset: size for asset, (_, size) in published.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProductError(f"{product.product_id}: {Asset.ITEM} in {product.folder} is damaged: {error!r}") from error
    digests[Asset.ITEM], sizes[Asset.ITEM] = hashlib.sha256(content).hexdigest(), len(content)
    return [
        {
            "name": asset_name(asset),
            "file_name": asset.value,
            "media_type": MEDIA_TYPES[asset],
            "size_bytes": sizes[asset],
            "sha256": digests[asset],
        }
        for asset in sorted(digests, key=asset_name)
    ]
