import datetime as dt
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import AlreadyExistsError, ProductError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import build_item, item_bytes
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store import product_store
from earthsignature_assets.products.store.product_store import SUPERSEDED, ProductStore
from earthsignature_assets.products.store.verification import Damage, verify

MakeDraft = Callable[..., Draft]
SECOND = ModelVersion("corine-unet", 2)
LAST_YEAR = dt.datetime(2025, 5, 2, 8, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.services)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ProductStore:
    """Make an empty store: once in a folder, once on S3."""
    if request.param == "s3":
        return ProductStore(request.getfixturevalue("new_bucket")(), tmp_path / "catalogue.sqlite")
    return ProductStore(tmp_path / "store")


@pytest.fixture
def local_store(tmp_path: Path) -> ProductStore:
    return ProductStore(tmp_path / "store")


@pytest.fixture
def catalogue(store: ProductStore) -> Iterator[Catalogue]:
    with store.open_catalogue() as opened:
        yield opened


def folders(store: ProductStore) -> list[str]:
    return [folder.name for folder in store.storage.folders("products", 3)]


def damages(store: ProductStore, catalogue: Catalogue) -> list[Damage]:
    return [damage for _, found in verify(store.storage, catalogue) for damage in found]


def nothing_is_staged(store: ProductStore) -> bool:
    return not list(store.storage.staging_root.glob("*"))


def age(path: Path, by: dt.timedelta) -> None:
    then = path.stat().st_mtime - by.total_seconds()
    os.utime(path, (then, then))


def test_a_published_product_is_found_and_read(store: ProductStore, finished_drafts: MakeDraft) -> None:
    draft = finished_drafts()
    before = dt.datetime.now(dt.UTC)
    published = store.publish(draft)
    with store.open_catalogue(read_only=True) as catalogue:
        assert list(catalogue.search(ProductQuery())) == [published]
    assert published.current
    assert published.folder.startswith("products/corine-unet-v1/2026-05-01_R065_T32TQM/")
    assert before - dt.timedelta(seconds=1) <= published.published_at <= dt.datetime.now(dt.UTC)
    assert published.class_codes <= {111, 211, 311, 312, 512}
    for asset in Asset:
        if asset is not Asset.ITEM:
            assert store.read(published, asset) == draft.path(asset).read_bytes()
    assert json.loads(store.read(published, Asset.ITEM))["properties"]["earthsignature:scene"] == str(draft.scene)
    assert nothing_is_staged(store)


def test_publishing_the_same_draft_again_changes_nothing(
    store: ProductStore, finished_drafts: MakeDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(product_store, "_now", lambda: LAST_YEAR)
        first = store.publish(finished_drafts())
    assert first.published_at == LAST_YEAR
    item = store.read(first, Asset.ITEM)
    written_at = store.storage.written_at(first.folder)
    assert store.publish(finished_drafts()) == first
    assert store.read(first, Asset.ITEM) == item
    assert store.storage.written_at(first.folder) == written_at
    assert folders(store) == [first.folder]


def test_the_same_draft_from_another_folder_is_the_same_product(
    store: ProductStore, tmp_path: Path, new_draft: MakeDraft
) -> None:
    first = store.publish(new_draft(tmp_path / "one"))
    assert store.publish(new_draft(tmp_path / "two")) == first


def test_changed_content_supersedes_and_keeps_the_publication(
    store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(product_store, "_now", lambda: LAST_YEAR)
        first = store.publish(finished_drafts())
    second = store.publish(finished_drafts(seed=1))
    assert second.folder != first.folder
    assert second.published_at == LAST_YEAR
    assert list(catalogue.search(ProductQuery())) == [second]
    assert store.read(first, Asset.LAND_COVER) == finished_drafts().path(Asset.LAND_COVER).read_bytes()


def test_verify_compares_the_time_of_publication(
    store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft
) -> None:
    published = store.publish(finished_drafts())
    item = json.loads(store.read(published, Asset.ITEM))
    item["properties"]["created"] = "2001-01-01T00:00:00Z"
    store.storage.write(f"{published.folder}/item.json", item_bytes(item))
    assert [damage.asset for damage in damages(store, catalogue)] == [Asset.ITEM]


def test_a_superseded_product_is_removed_after_its_grace_period(
    local_store: ProductStore, finished_drafts: MakeDraft
) -> None:
    store = local_store
    first = store.publish(finished_drafts())
    age(store.root / first.folder, 100 * HOUR)  # published long ago
    second = store.publish(finished_drafts(seed=1))  # superseded now: the grace period begins
    assert store.sweep(HOUR) == []
    assert folders(store) == sorted([first.folder, second.folder])
    age(store.root / first.folder, 2 * HOUR)
    age(store.root / second.folder, 1000 * HOUR)
    assert store.sweep(HOUR) == [first.folder]
    assert folders(store) == [second.folder]
    with pytest.raises(ProductError, match="search again"):
        store.read(first, Asset.LAND_COVER)


def test_a_sweep_removes_folders_without_a_row(store: ProductStore, finished_drafts: MakeDraft) -> None:
    first = store.publish(finished_drafts())
    second = store.publish(finished_drafts(seed=1))
    assert store.sweep(HOUR) == []
    assert store.sweep(dt.timedelta(0)) == [first.folder]
    assert folders(store) == [second.folder]
    assert store.sizes(first) == {}
    with pytest.raises(ProductError, match="search again"):
        store.read(first, Asset.LAND_COVER)
    assert store.publish(finished_drafts()).folder == first.folder


def test_superseded_folders_are_marked_and_unmarked_when_they_return(
    store: ProductStore, finished_drafts: MakeDraft
) -> None:
    first = store.publish(finished_drafts())
    second = store.publish(finished_drafts(seed=1))
    assert SUPERSEDED in store.storage.sizes(first.folder)
    assert SUPERSEDED not in store.storage.sizes(second.folder)
    store.publish(finished_drafts())
    assert SUPERSEDED not in store.storage.sizes(first.folder)
    assert SUPERSEDED in store.storage.sizes(second.folder)


def test_parts_of_files_are_read(store: ProductStore, finished_drafts: MakeDraft) -> None:
    published = store.publish(finished_drafts())
    whole = store.read(published, Asset.LAND_COVER)
    assert store.sizes(published)[Asset.LAND_COVER] == len(whole)
    assert store.read_range(published, Asset.LAND_COVER, 10, 20) == whole[10:30]
    assert store.read_range(published, Asset.LAND_COVER, len(whole) - 5, 20) == whole[-5:]
    assert store.read_range(published, Asset.LAND_COVER, len(whole), 20) == b""
    with pytest.raises(ProductError, match="search again"):
        store.read_range(replace(published, folder=published.folder[:-1] + "x"), Asset.LAND_COVER, 0, 1)


def test_earlier_content_that_is_published_again_is_served(store: ProductStore, finished_drafts: MakeDraft) -> None:
    first = store.publish(finished_drafts())
    store.publish(finished_drafts(seed=1))
    assert store.publish(finished_drafts()) == first


def test_a_product_that_must_be_new_never_replaces_another(
    store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft
) -> None:
    first = store.publish(finished_drafts(), new=True)
    for draft in (finished_drafts(), finished_drafts(seed=1)):
        with pytest.raises(AlreadyExistsError):
            store.publish(draft, new=True)
    assert list(catalogue.search(ProductQuery())) == [first]
    assert folders(store) == [first.folder]
    # Readers of the superseded content may still need it.
    second = store.publish(finished_drafts(seed=1))
    with pytest.raises(AlreadyExistsError):
        store.publish(finished_drafts(), new=True)
    assert folders(store) == sorted([first.folder, second.folder])


def test_products_of_two_models_coexist(store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft) -> None:
    first, second = store.publish(finished_drafts()), store.publish(finished_drafts(SECOND))
    assert list(catalogue.search(ProductQuery())) == [first]
    catalogue.promote(SECOND, "test")
    assert list(catalogue.search(ProductQuery())) == [replace(second, current=True)]
    assert len(folders(store)) == 2


def test_an_invalid_draft_leaves_nothing(store: ProductStore, tmp_path: Path, finished_drafts: MakeDraft) -> None:
    shutil.copytree(finished_drafts().folder, tmp_path / "draft")
    draft = Draft.load(tmp_path / "draft")
    content = draft.path(Asset.LAND_COVER).read_bytes()
    draft.path(Asset.LAND_COVER).write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ProductError, match=r"land_cover\.tif"):
        store.publish(draft)
    draft.path(Asset.LAND_COVER).unlink()
    with pytest.raises(ProductError, match=r"land_cover\.tif is missing from the draft"):
        store.publish(draft)
    with store.open_catalogue(read_only=True) as catalogue:
        assert catalogue.count() == 0
    assert not folders(store)
    assert nothing_is_staged(store)


@pytest.mark.parametrize("asset", list(Asset))
@pytest.mark.parametrize("spoil", ["flip", "cut", "remove"])
def test_verify_names_damaged_files_and_a_new_publication_repairs_them(
    store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft, asset: Asset, spoil: str
) -> None:
    published = store.publish(finished_drafts())
    assert not damages(store, catalogue)
    name = f"{published.folder}/{asset.value}"
    content = bytearray(store.read(published, asset))
    if spoil == "remove":
        store.storage.remove(name)
    else:
        position = content.index(b"corine") if asset is Asset.ITEM else len(content) // 2
        content[position] ^= 1
        cut = content[:-1] if asset is not Asset.ITEM else content[:-9]
        store.storage.write(name, bytes(content if spoil == "flip" else cut))
    assert [(damage.product, damage.asset) for damage in damages(store, catalogue)] == [(published, asset)]
    assert store.publish(finished_drafts()) == published
    assert not damages(store, catalogue)


@pytest.mark.parametrize(
    "folder",
    [
        "../outside",
        "/etc",
        "products/../../etc/x",
        "products/a/b/..",
        "products/a/b",
        ".staging/a/b/c",
        "",
        "products/linked/x/y",
    ],
)
def test_a_folder_outside_the_store_is_refused(
    local_store: ProductStore, tmp_path: Path, finished_drafts: MakeDraft, folder: str
) -> None:
    store = local_store
    published = store.publish(finished_drafts())
    (tmp_path / "elsewhere/x/y").mkdir(parents=True)
    (tmp_path / "elsewhere/x/y/item.json").write_text("secret")
    (store.root / "products/linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProductError, match="store"):
        store.read(replace(published, folder=folder), Asset.ITEM)


def test_the_folder_of_products_may_be_a_link_to_another_disk(tmp_path: Path, finished_drafts: MakeDraft) -> None:
    store = ProductStore(tmp_path / "store")
    published = store.publish(finished_drafts())
    (tmp_path / "store/products").rename(tmp_path / "larger")
    (tmp_path / "store/products").symlink_to(tmp_path / "larger")
    assert store.read(published, Asset.ITEM)


def test_a_missing_store_is_named(tmp_path: Path, finished_drafts: MakeDraft) -> None:
    published = ProductStore(tmp_path / "store").publish(finished_drafts())
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        ProductStore(tmp_path / "unmounted").read(published, Asset.ITEM)
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        ProductStore(tmp_path / "unmounted").open_catalogue(read_only=True)


def test_damage_of_one_product_names_that_product(
    store: ProductStore, catalogue: Catalogue, finished_drafts: MakeDraft
) -> None:
    store.publish(finished_drafts())
    second = store.publish(finished_drafts(SECOND))
    store.storage.withdraw(second.folder)
    assert [(damage.product.model, damage.fault) for damage in damages(store, catalogue)] == [(SECOND, "is missing")]
    found: Product | None = catalogue.find(second.product_id, SECOND)
    assert found == second


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda item: item["properties"].pop("datetime"), "is not valid STAC"),
        (lambda item: item["assets"].popitem(), "item.json lacks "),
    ],
    ids=["no datetime", "a file that is not listed"],
)
def test_an_item_that_is_not_valid_stac_is_never_published(
    local_store: ProductStore,
    finished_drafts: MakeDraft,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    def spoilt(*arguments: Any) -> dict[str, Any]:
        item = build_item(*arguments)
        spoil(item)
        return item

    monkeypatch.setattr(product_store, "build_item", spoilt)
    with pytest.raises(ProductError, match=message):
        local_store.publish(finished_drafts())
    assert folders(local_store) == []
    assert nothing_is_staged(local_store)
    with local_store.open_catalogue(read_only=True) as catalogue:
        assert list(catalogue.search(ProductQuery())) == []
