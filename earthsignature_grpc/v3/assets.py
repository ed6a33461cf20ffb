"""The files of a product as version 3 names them, with sizes and checksums."""

import hashlib
import json
from typing import Any

from earthsignature_assets.errors import ProductError, QueryError
from earthsignature_assets.products.item import MEDIA_TYPES, asset_checksums
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.reading.product_reader import ProductReader

_SHA256_MULTIHASH = "1220"  # function and length, before the digest


def asset_name(asset: Asset) -> str:
    """The name of a file in version 3: `land_cover`."""
    return asset.name.lower()


def parse_asset(name: str) -> Asset:
    """Read the name of a file.

    Raises:
        QueryError: no product has such a file.
    """
    for asset in Asset:
        if asset_name(asset) == name:
            return asset
    raise QueryError("asset", f"{name!r} is no file of a product; give one of {', '.join(map(asset_name, Asset))}")


def described_assets(reader: ProductReader, product: Product) -> list[dict[str, Any]]:
    """The fields of each file's `Asset` message, in the order of their names.

    The checksums are those of the publication, from the product's STAC item; only the item's own is computed.

    Raises:
        ProductError: the item is missing or damaged.
        StoreUnavailableError: the disk does not give it.
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
