import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pystac_client
import pytest
import rustac
from pystac_client.warnings import FallbackToPystac, NoConformsTo

from earthsignature_assets.errors import ProductError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import COLLECTION
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.static_catalogue import _absolute, export_stac
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.simulator import serve_stac

MakeDraft = Callable[..., Draft]
SECOND = ModelVersion("corine-unet", 2)
JUNE = "S2A_MSIL2A_20260611T101559_N0512_R065_T32TQM_20260611T141516"


@pytest.fixture
def archive(tmp_path: Path, finished_drafts: MakeDraft, new_draft: MakeDraft) -> tuple[ProductStore, list[Product]]:
    """Make a store with products of two months, and one by a model version that is not served."""
    store = ProductStore(tmp_path / "store")
    products = [store.publish(finished_drafts()), store.publish(new_draft(tmp_path / "june", product_id=JUNE))]
    store.publish(finished_drafts(SECOND))
    return store, products


def export(store: ProductStore, folder: Path, model: ModelVersion | None = None) -> int:
    with store.open_catalogue(read_only=True) as catalogue:
        return export_stac(store, catalogue, folder, model)


def test_any_stac_tool_reads_the_export(
    stac_faults: Callable[[dict[str, Any]], list[str]], archive: tuple[ProductStore, list[Product]], tmp_path: Path
) -> None:
    store, products = archive
    assert export(store, tmp_path / "export") == 2
    root = pystac.Catalog.from_file(str(tmp_path / "export/catalog.json"))
    [collection] = root.get_collections()
    assert collection.id == COLLECTION
    items = sorted(root.get_items(recursive=True), key=lambda item: str(item.datetime))
    assert [item.properties["earthsignature:product_id"] for item in items] == [one.product_id for one in products]
    for item, product in zip(items, products, strict=True):
        owner, top = item.get_collection(), item.get_root()
        assert owner is not None
        assert top is not None
        assert (owner.id, top.id) == (COLLECTION, "earthsignature")
        asset = item.assets["land_cover"]
        assert asset.href == store.path(product, Asset.LAND_COVER).as_uri()
        [model] = [link for link in item.links if link.rel == "derived_from" and "models" in link.href]
        assert model.get_href(transform_href=False) == "../../models/corine-unet-v1.json", (
            "it may be served from anywhere"
        )
        model_item = pystac.Item.from_file(str(tmp_path / "export" / "models" / "corine-unet-v1.json"))
        assert Path(str(model.get_absolute_href())).samefile(str(model_item.get_self_href()))
        assert Path(model_item.assets["model"].href.removeprefix("file://")).is_file()
    for path in (tmp_path / "export").rglob("*.json"):
        assert stac_faults(json.loads(path.read_text())) == [], path
    west, south, east, north = products[0].footprint.bounds
    assert collection.extent.spatial.bboxes == [[west, south, east, north]]


def test_pystac_client_opens_the_export(archive: tuple[ProductStore, list[Product]], tmp_path: Path) -> None:
    store, products = archive
    export(store, tmp_path / "export")
    # A static catalogue conforms to no API: the client warns, and walks it.
    with pytest.warns(NoConformsTo):
        client = pystac_client.Client.open(str(tmp_path / "export/catalog.json"))
    with pytest.warns(FallbackToPystac):
        found = [item.id for collection in client.get_collections() for item in collection.get_items(recursive=True)]
    assert sorted(found) == sorted(f"{product.product_id}_{product.model}" for product in products)


def test_the_geoparquet_is_read_and_served(archive: tuple[ProductStore, list[Product]], tmp_path: Path) -> None:
    store, products = archive
    export(store, tmp_path / "export")
    parquets = sorted((tmp_path / "export").rglob("*.parquet"))
    assert [path.parent.name for path in parquets] == ["2026-05", "2026-06"]
    for path, product in zip(parquets, products, strict=True):
        [item] = rustac.read_sync(str(path))["features"]
        assert item["id"] == f"{product.product_id}_{product.model}"
    with serve_stac(parquets) as api:
        client = pystac_client.Client.open(api)
        found = client.search(
            collections=[COLLECTION], datetime="2026-06-01/2026-06-30", bbox=products[1].footprint.bounds
        )
        assert [item.properties["earthsignature:product_id"] for item in found.items()] == [JUNE]


def test_another_model_version_is_exported_by_name(archive: tuple[ProductStore, list[Product]], tmp_path: Path) -> None:
    store, _ = archive
    assert export(store, tmp_path / "export", SECOND) == 1
    [item] = pystac.Catalog.from_file(str(tmp_path / "export/catalog.json")).get_items(recursive=True)
    assert item.properties["earthsignature:model"] == "corine-unet-v2"


def test_an_earlier_export_is_replaced_and_nothing_else(
    archive: tuple[ProductStore, list[Product]], tmp_path: Path
) -> None:
    store, _ = archive
    export(store, tmp_path / "export", SECOND)
    assert export(store, tmp_path / "export") == 2
    assert len(list(pystac.Catalog.from_file(str(tmp_path / "export/catalog.json")).get_items(recursive=True))) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(ProductError, match="another folder"):
        export(store, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_an_empty_archive_is_an_empty_catalogue(tmp_path: Path) -> None:
    store = ProductStore(tmp_path / "store")
    store.open_catalogue().close()
    assert export(store, tmp_path / "export") == 0
    assert list(pystac.Catalog.from_file(str(tmp_path / "export/catalog.json")).get_items(recursive=True)) == []


@pytest.mark.parametrize(
    ("base", "href", "expected"),
    [
        ("s3://bucket/a/products/m/s/d/", "./land_cover.tif", "s3://bucket/a/products/m/s/d/land_cover.tif"),
        ("s3://bucket/products/m/s/d/", "../../../../models/m/item.json", "s3://bucket/models/m/item.json"),
        ("file:///srv/products/m/s/d/", "./item.json", "file:///srv/products/m/s/d/item.json"),
        ("s3://bucket/products/m/s/d/", "https://stac.example/x", "https://stac.example/x"),
    ],
)
def test_hrefs_are_absolute_for_every_kind_of_store(base: str, href: str, expected: str) -> None:
    assert _absolute(base, href) == expected
