"""Rebuild the catalogue from the store: the STAC items have everything that a row needs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.item import content_digest
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import (
    PRODUCT_DEPTH,
    PRODUCTS,
    SUPERSEDED,
    product_of,
    shows_whole_scene,
)
from earthsignature_assets.products.store.storage import Storage, StoredFolder


@dataclass
class Rebuilt:
    """Result of a rebuild.

    Attributes:
        products: number of products in the store, without superseded content.
        recorded: number of products that the catalogue lacked.
        forgotten: number of rows whose folder is not in the store.
        damaged: folders that could not be used, with the reason.
    """

    products: int = 0
    recorded: list[Product] = field(default_factory=list)
    forgotten: list[Product] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)


def rebuild(storage: Storage, catalogue: Catalogue, progress: Callable[[str], None] = lambda _: None) -> Rebuilt:
    """Make the catalogue match the store in one transaction; readers see the old catalogue until then.

    A row whose folder exists stays: it knows better than the store which content is the latest. Other rows come from
    the items; if a product has several folders, from the latest one not marked superseded. Publications may run at the
    same time. The store does not know the promoted model versions: a lost catalogue promotes the version that was
    published first; promote another one afterwards.

    Args:
        storage: the store's files.
        catalogue: open for writing; it may be empty.
        progress: called for each folder read.

    Raises:
        StoreUnavailableError: the storage or the catalogue cannot be reached.
    """
    report = Rebuilt()
    found: dict[tuple[str, ModelVersion], tuple[tuple[bool, Any], Product, bool]] = {}
    sound = set[str]()
    for folder in storage.folders(PRODUCTS, PRODUCT_DEPTH):
        progress(folder.name)
        try:
            product, whole_scene = _read(storage, folder)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, EarthSignatureError) as error:
            if isinstance(error, EarthSignatureError) and error.retryable:
                raise
            report.damaged.append((folder.name, f"{Asset.ITEM.value} is missing or cannot be used: {error!r}"))
            continue
        sound.add(folder.name)
        place = (SUPERSEDED not in storage.sizes(folder.name), folder.written_at)
        key = (product.product_id, product.model)
        if key not in found or place > found[key][0]:
            found[key] = (place, product, whole_scene)
    report.products = len(found)
    with catalogue.transaction():
        kept = set()
        for row in list(catalogue.all_products()):
            # Look up a folder that is not in the list above: it may have been published since.
            if row.folder in sound or storage.sizes(row.folder):
                kept.add((row.product_id, row.model))
            elif (row.product_id, row.model) not in found:
                catalogue.forget(row)
                report.forgotten.append(row)
        missing = [(product, whole) for key, (_, product, whole) in found.items() if key not in kept]
        for product, whole_scene in sorted(missing, key=lambda one: (one[0].published_at, one[0].product_id)):
            catalogue.record(product, whole_scene=whole_scene)
            report.recorded.append(product)
    return report


def _read(storage: Storage, folder: StoredFolder) -> tuple[Product, bool]:
    item: dict[str, Any] = json.loads(storage.read(f"{folder.name}/{Asset.ITEM.value}"))
    product = product_of(item, folder.name)
    if content_digest(item) != folder.name.rpartition("/")[2]:
        raise ValueError("its digest is not its folder's name")
    return product, shows_whole_scene(item)
