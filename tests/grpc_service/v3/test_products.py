"""Pages of products, and one product with its files."""

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely

from earthsignature_assets.errors import NoSuchProductError, QueryError, ServiceUnavailableError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.product import Asset
from earthsignature_grpc.client import EarthSignatureClient, RetryPolicy
from earthsignature_grpc.client.requests import list_products
from tests.grpc_service.v3.conftest import Ask, Serve, Shelf

ONE = "S2B_MSIL2A_20260102T100000_N0511_R022_T33TUG_20260102T100000"
TILES = ["32TQM", "32TPM", "33TUG", "33TVG"]


@pytest.fixture
def filled(shelf: Shelf, name_of: Callable[..., str]) -> Shelf:
    with shelf.catalogue.transaction():
        for day in range(1, 8):
            for number, tile in enumerate(TILES):
                shelf.put(name_of(tile, day), cloud_percent=10.0 * number)
    return shelf


def _newest_first(shelf: Shelf) -> list[str]:
    return sorted((product.product_id for product in shelf.products), key=lambda name: (-int(name[11:19]), name))


@pytest.mark.parametrize("page_size", [0, 1, 3, 4, 7, 27, 28, 29, 5000])
def test_pages_add_up_to_everything_once(filled: Shelf, ask: Ask, address: str, page_size: int) -> None:
    found = [product.product_id for product in ask(address, "products", page_size=page_size)]
    assert found == _newest_first(filled)
    turned = [product.product_id for product in ask(address, "products", page_size=page_size, oldest_first=True)]
    assert turned == found[::-1]


def test_pages_hold_no_more_than_was_asked(
    filled: Shelf, client: EarthSignatureClient, name_of: Callable[..., str]
) -> None:
    page = client._ask(list_products({}, 5, "", False))
    assert len(page.products) == 5
    last = client._ask(list_products({"product_ids": [name_of("32TQM", 1)]}, 1, "", False))
    assert (len(last.products), last.next_page_token) == (1, "")


def test_products_published_between_pages_shift_nothing(
    filled: Shelf, client: EarthSignatureClient, name_of: Callable[..., str]
) -> None:
    before = _newest_first(filled)
    products = client.products(page_size=5)
    found = [next(products).product_id for _ in range(6)]
    filled.put(name_of("32TQM", 30))  # newer than all
    filled.put(name_of("32TNM", 7))  # on a page that has been read
    filled.put(name_of("31TGM", 1))  # on a page to come
    found += [product.product_id for product in products]
    assert [name for name in found if name in before] == before
    assert set(found) - set(before) == {name_of("31TGM", 1)}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"max_cloud_percent": 10}, lambda name: name[39:44] in ("32TQM", "32TPM")),
        ({"max_cloud_percent": 0}, lambda name: name[39:44] == "32TQM"),
        ({"start": dt.date(2026, 1, 3), "end": dt.date(2026, 1, 3)}, lambda name: "20260103" in name),
        ({"categories": ["Broad-leaved forest"]}, lambda name: True),
        ({"categories": [512]}, lambda name: False),
        ({"model": "corine-unet-v2"}, lambda name: False),
        ({"product_ids": [ONE, "unknown"]}, lambda name: name == ONE),
    ],
)
def test_filters(
    filled: Shelf, ask: Ask, address: str, filters: dict[str, Any], expected: Callable[[str], bool]
) -> None:
    found = [product.product_id for product in ask(address, "products", page_size=3, **filters)]
    assert found == [name for name in _newest_first(filled) if expected(name)]


def test_an_area_selects_what_it_meets(
    filled: Shelf, ask: Ask, address: str, boxed: Callable[..., shapely.Polygon]
) -> None:
    found = ask(address, "products", area=boxed("33TUG", 10, 10, 5, 5), page_size=2)
    assert [product.product_id[39:44] for product in found] == ["33TUG"] * 7


def _refusal(client: EarthSignatureClient, *arguments: Any) -> QueryError:
    with pytest.raises(QueryError) as caught:
        client._ask(list_products(*arguments))
    return caught.value


def test_a_token_belongs_to_its_list_and_must_be_whole(filled: Shelf, client: EarthSignatureClient) -> None:
    token = client._ask(list_products({"max_cloud_percent": 30}, 2, "", False)).next_page_token
    assert client._ask(list_products({"max_cloud_percent": 30}, 9, token, False)).products
    assert "another filter" in _refusal(client, {"max_cloud_percent": 20}, 2, token, False).remedy
    assert "another filter" in _refusal(client, {"max_cloud_percent": 30}, 2, token, True).remedy
    for position in range(len(token)):
        damaged = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        refusal = _refusal(client, {"max_cloud_percent": 30}, 2, damaged, False)
        assert (refusal.field, "damaged" in refusal.remedy) == ("page_token", True)
    for damaged in (token[:-1], token + "A", "nonsense", "é", "A" * 5000):
        assert _refusal(client, {"max_cloud_percent": 30}, 2, damaged, False).field == "page_token"


@pytest.mark.parametrize(
    ("filters", "page_size", "field"),
    [
        ({}, -1, "page_size"),
        ({"max_cloud_percent": 101.0}, 1, "max_cloud_cover"),
        ({"max_cloud_percent": float("nan")}, 1, "max_cloud_cover"),
        ({"area": "nonsense"}, 1, "wkt"),
        ({"categories": ["Woods"]}, 1, "categories"),
        ({"model": "no model"}, 1, "model"),
        ({"start": dt.date(2026, 2, 1), "end": dt.date(2026, 1, 1)}, 1, "start_date"),
    ],
)
def test_invalid_lists_are_refused_by_field(
    client: EarthSignatureClient, shelf: Shelf, filters: dict[str, Any], page_size: int, field: str
) -> None:
    assert _refusal(client, filters, page_size, "", False).field == field


def test_one_product_with_its_files(filled: Shelf, ask: Ask, address: str) -> None:
    published = filled.products[5]
    product = ask(address, "product", published.product_id)
    assert (product.product_id, product.model) == (published.product_id, str(published.model))
    assert (product.scene, product.digest) == (str(published.scene), published.folder.rpartition("/")[2])
    assert (product.sensed_at, product.published_at) == (published.sensed_at, published.published_at)
    assert product.footprint.normalize().equals(published.footprint.normalize())
    assert product.current
    assert set(product.assets) == {"land_cover", "cloud_mask", "thumbnail", "item"}
    for asset in (Asset.LAND_COVER, Asset.CLOUD_MASK, Asset.THUMBNAIL, Asset.ITEM):
        content, described = filled.content(published, asset), product.assets[asset.name.lower()]
        assert described.file_name == asset.value
        assert (described.size_bytes, described.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_product_of_another_model(shelf: Shelf, ask: Ask, address: str, name_of: Callable[..., str]) -> None:
    shelf.put(name_of("32TQM", 1))
    shelf.put(name_of("32TQM", 1), model=ModelVersion("corine-unet", 2))
    assert ask(address, "product", name_of("32TQM", 1)).model == "corine-unet-v1"
    second = ask(address, "product", name_of("32TQM", 1) + ".SAFE", "corine-unet-v2")
    assert (second.model, second.current) == ("corine-unet-v2", False)
    for name, model in (
        (name_of("32TQM", 1), "corine-unet-v3"),
        (name_of("32TQM", 2), None),
        ("../../etc/passwd", None),
    ):
        with pytest.raises(NoSuchProductError, match="ListProducts"):
            ask(address, "product", name, model)
    with pytest.raises(QueryError, match="product_id"):
        ask(address, "product", "")


def test_models_are_listed_by_promotion(shelf: Shelf, ask: Ask, address: str, name_of: Callable[..., str]) -> None:
    first, second, third = (ModelVersion("corine-unet", number) for number in (1, 2, 3))
    for day in (1, 2):
        shelf.put(name_of("32TQM", day), model=first)
    shelf.put(name_of("32TQM", 1), model=second)
    shelf.put(name_of("32TQM", 1), model=third)
    shelf.catalogue.promote(third, who="test")
    models = ask(address, "models")
    assert [(entry.model, entry.product_count, entry.current_count) for entry in models] == [
        (str(third), 1, 1),
        (str(first), 2, 1),
        (str(second), 1, 0),
    ]
    assert models[0].promoted_at > models[1].promoted_at
    assert models[2].promoted_at is None


def test_a_store_without_a_catalogue_is_unavailable(tmp_path: Path, serve: Serve) -> None:
    with (
        serve(tmp_path / "nothing") as address,
        EarthSignatureClient(address, retry=RetryPolicy(attempts=1)) as client,
        pytest.raises(ServiceUnavailableError) as caught,
    ):
        list(client.products())
    assert caught.value.retry_after_s == 5
