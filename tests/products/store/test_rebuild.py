import json
from collections.abc import Callable
from pathlib import Path

import pytest

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.products.store.rebuild import Rebuilt, rebuild

MakeDraft = Callable[..., Draft]
SECOND = ModelVersion("corine-unet", 2)
NEWER = "S2B_MSIL2A_20260501T101559_N0513_R065_T32TQM_20270101T000000"


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.services)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "s3":
        url: str = request.getfixturevalue("new_bucket")()
        return url
    return tmp_path / "store"


def rebuilt(store: ProductStore) -> Rebuilt:
    with store.open_catalogue() as catalogue:
        return rebuild(store.storage, catalogue)


def shown(store: ProductStore, query: ProductQuery | None = None) -> list[Product]:
    with store.open_catalogue(read_only=True) as catalogue:
        return list(catalogue.search(query or ProductQuery()))


def test_a_lost_catalogue_is_rebuilt_from_the_items(
    location: Path | str, tmp_path: Path, finished_drafts: MakeDraft, new_draft: MakeDraft
) -> None:
    store = ProductStore(location, tmp_path / "old.sqlite")
    superseded = store.publish(finished_drafts())
    store.publish(finished_drafts(seed=1))
    store.publish(finished_drafts())  # content that returns
    store.publish(finished_drafts(SECOND))
    store.publish(new_draft(tmp_path / "newer", product_id=NEWER))
    fresh = ProductStore(location, tmp_path / "new.sqlite")
    report = rebuilt(fresh)
    assert (report.products, len(report.recorded), report.forgotten, report.damaged) == (3, 3, [], [])
    for query in (
        ProductQuery(),
        ProductQuery(model=SECOND),
        ProductQuery(product_ids=frozenset({superseded.product_id, NEWER})),
    ):
        assert shown(fresh, query) == shown(store, query)
    assert [product.product_id for product in shown(fresh)] == [NEWER]
    assert rebuilt(fresh).recorded == [], "what is there stays"


def test_rows_without_files_are_removed_and_others_stay(
    location: Path | str, tmp_path: Path, finished_drafts: MakeDraft
) -> None:
    store = ProductStore(location, tmp_path / "catalogue.sqlite")
    gone, stays = store.publish(finished_drafts()), store.publish(finished_drafts(SECOND))
    store.storage.withdraw(gone.folder)
    report = rebuilt(store)
    assert [product.folder for product in report.forgotten] == [gone.folder]
    assert [product.folder for product in shown(store, ProductQuery(model=SECOND))] == [stays.folder]
    assert shown(store) == []


def test_damaged_items_are_named_and_the_rest_is_recorded(
    location: Path | str, tmp_path: Path, finished_drafts: MakeDraft
) -> None:
    store = ProductStore(location, tmp_path / "old.sqlite")
    whole, damaged = store.publish(finished_drafts()), store.publish(finished_drafts(SECOND))
    item = json.loads(store.read(damaged, Asset.ITEM))
    for content in (b"{", b"[]", json.dumps(item | {"bbox": []}).encode(), json.dumps({"properties": {}}).encode()):
        store.storage.write(f"{damaged.folder}/item.json", content)
        fresh = ProductStore(location, tmp_path / f"{len(content)}.sqlite")
        report = rebuilt(fresh)
        assert [folder for folder, _ in report.damaged] == [damaged.folder]
        assert [product.folder for product in report.recorded] == [whole.folder]
    store.storage.remove(f"{damaged.folder}/item.json")
    assert [folder for folder, _ in rebuilt(ProductStore(location, tmp_path / "last.sqlite")).damaged] == [
        damaged.folder
    ]
