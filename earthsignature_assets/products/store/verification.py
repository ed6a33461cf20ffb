"""Verify published products: every checksum, every code, and each row against its item."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.item import asset_checksums, content_digest, item_bytes, multihash, publication_of
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.storage import Storage


@dataclass(frozen=True)
class Damage:
    """Damage to one file of a published product."""

    product: Product
    asset: Asset
    fault: str


def verify(storage: Storage, catalogue: Catalogue) -> Iterator[tuple[Product, list[Damage]]]:
    """Verify every file of every product of a catalogue; yield each product with its damage.

    Raises:
        StoreUnavailableError: the storage or the catalogue cannot be reached.
    """
    for product in catalogue.all_products():
        faults = list(faults_of(storage, product.folder, codes=True))
        if not faults and publication_of(_item(storage, product.folder)) != product.published_at:
            faults.append((Asset.ITEM, f"has changed: it was published at {product.published_at}"))
        yield product, [Damage(product, asset, fault) for asset, fault in faults]


def faults_of(storage: Storage, folder: str, *, codes: bool = False) -> Iterator[tuple[Asset, str]]:
    """Yield the faults in a product's folder: of its item, and of each file against the item.

    Args:
        storage: the storage with the folder.
        folder: relative POSIX path.
        codes: whether to decode the land cover and look for codes that are none of the 44.

    Raises:
        StoreUnavailableError: the storage cannot be reached.
    """
    try:
        content = storage.read(f"{folder}/{Asset.ITEM.value}")
        item = json.loads(content)
        digest, expected = content_digest(item), asset_checksums(item)
        publication_of(item)
    except FileNotFoundError:
        yield Asset.ITEM, "is missing"
        return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield Asset.ITEM, f"cannot be read: {error!r}"
        return
    if digest != folder.rpartition("/")[2] or content != item_bytes(item):
        yield Asset.ITEM, "has changed: its digest is not its folder's name"
    for asset, (checksum, size) in expected.items():
        try:
            content = storage.read(f"{folder}/{asset.value}")
        except FileNotFoundError:
            yield asset, "is missing"
            continue
        if len(content) != size:
            yield asset, f"has {len(content)} bytes, published were {size}"
        elif multihash(content) != checksum:
            yield asset, "has changed: its SHA-256 is not the one in item.json"
        elif codes and asset is Asset.LAND_COVER:
            strange = _strange_codes(content)
            if strange:
                yield asset, f"holds {strange[:5]}, which are not CORINE level-3 codes"


def _strange_codes(content: bytes) -> list[int]:
    # rasterio and numpy are slow to import, and readers of the store need neither.
    import numpy as np
    from rasterio.io import MemoryFile

    from earthsignature_assets.nomenclature import NO_DATA, known_codes

    with MemoryFile(content) as file, file.open() as raster:
        present = np.unique(raster.read(1)).tolist()
    known = known_codes()
    return [code for code in present if code != NO_DATA and not (code < len(known) and known[code])]


def _item(storage: Storage, folder: str) -> dict[str, Any]:
    item: dict[str, Any] = json.loads(storage.read(f"{folder}/{Asset.ITEM.value}"))
    return item
