import datetime as dt
from collections.abc import Callable
from typing import Any

import pystac
import shapely

from earthsignature_assets.products.collection import Extent, build_collection
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import COLLECTION
from earthsignature_assets.products.product import Asset, Product


def test_it_is_a_stac_collection(stac_faults: Callable[[dict[str, Any]], list[str]]) -> None:
    collection = build_collection(Extent(), [])
    assert stac_faults(collection) == []
    assert collection["id"] == COLLECTION
    assert set(collection["item_assets"]) == {asset.name.lower() for asset in Asset if asset is not Asset.ITEM}
    read = pystac.Collection.from_dict(collection)
    assert read.extent.temporal.intervals == [[dt.datetime(2015, 6, 27, tzinfo=dt.UTC), None]]


def test_it_declares_the_extensions_that_it_has_fields_of() -> None:
    collection = build_collection(Extent(), [])
    used = {
        field.partition(":")[0]
        for described in (collection["summaries"], *collection["providers"], *collection["item_assets"].values())
        for field in described
        if ":" in field
    }
    assert {url.split("/")[3] for url in collection["stac_extensions"]} == used


def test_its_extent_covers_the_included_products(finished_drafts: Callable[..., Draft]) -> None:
    draft, extent = finished_drafts(), Extent()
    for days, shift in ((0, 0.0), (3, 2.0), (-2, -1.0)):
        moved = shapely.affinity.translate(draft.footprint, shift, shift)
        moment = draft.sensed_at + dt.timedelta(days=days)
        facts = (draft.product_id, draft.scene, draft.model, draft.product_type, moment, moment, moved)
        extent.include(Product(*facts, 0.0, frozenset(), ""))
    west, south, east, north = draft.footprint.bounds
    assert extent.to_json() == {
        "spatial": {"bbox": [[west - 1, south - 1, east + 2, north + 2]]},
        "temporal": {"interval": [["2026-04-29T10:15:59Z", "2026-05-04T10:15:59Z"]]},
    }
