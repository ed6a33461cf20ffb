"""The project's own client: what it returns, and what it raises."""

import datetime as dt

import numpy as np
import pytest
import rasterio
import shapely

from earthsignature_assets.errors import (
    CredentialError,
    QueryError,
    ServiceAnswerError,
    ServiceUnavailableError,
)
from earthsignature_assets.products.product import Asset
from earthsignature_grpc.client import EarthSignatureClient, PolygonProduct, _polygon_product
from earthsignature_grpc.wire import length_delimited


@pytest.fixture
def client(server):
    with EarthSignatureClient(server, timeout_s=20) as client:
        yield client


def test_rasters_come_with_their_facts(client, facts) -> None:
    products = list(client.segmentations_v1())
    assert [product.product_id for product in products] == facts.newest_first
    newest = products[0]
    assert newest.land_cover == facts.content(facts.newest, Asset.LAND_COVER)
    assert newest.cloud_mask == facts.content(facts.newest, Asset.CLOUD_MASK)
    assert newest.footprint.equals(facts.products[facts.newest].footprint)
    assert (newest.acquired_on, newest.model) == (dt.date(2022, 4, 30), "corine-unet-v1")
    assert newest.cloud_cover_percent == pytest.approx(12.637376)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray, with affine 3
def test_rasters_open_as_arrays(client, facts) -> None:
    (product,) = client.segmentations_v1(limit=1)
    classes = product.land_cover_array()
    with rasterio.open(facts.root / facts.products[facts.newest].folder / "land_cover.tif") as raster:
        np.testing.assert_array_equal(classes.to_numpy(), raster.read(1))
        assert classes.rio.crs == raster.crs
    assert (classes.dims, classes.dtype) == (("y", "x"), np.uint16)
    assert product.cloud_mask_array().shape == (32, 32)


def test_polygons_open_as_frames(client, facts) -> None:
    frames = [product.frame() for product in client.polygons_v2()]
    for product_id, frame in zip(facts.newest_first, frames, strict=True):
        expected = facts.polygons(product_id)
        assert frame["class_code"].tolist() == [code for code, _ in expected]
        assert frame.geometry.tolist() == [shape for _, shape in expected]
        assert frame.crs == "EPSG:4326"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"area": shapely.box(13, 48, 14, 50)}, ["same_day"]),
        ({"area": "POLYGON ((13 48, 14 48, 14 50, 13 48))"}, ["same_day"]),
        ({"start": dt.date(2022, 4, 30), "end": dt.date(2022, 4, 30)}, ["newest", "same_day"]),
        ({"start": dt.datetime(2022, 4, 30, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))}, ["newest"]),
        ({"categories": [523, "Discontinuous urban fabric"]}, ["middle", "oldest"]),
        ({"model": "corine-unet-v2"}, ["newest"]),
        ({"categories": ["335"]}, []),
    ],
)
def test_filters_mean_the_same_everywhere(client, facts, filters, expected) -> None:
    names = [getattr(facts, name) for name in expected]
    assert [product.product_id for product in client.segmentations_v1(**filters)] == names
    assert [product.product_id for product in client.product_ids(**filters)] == names
    polygons = [product.frame().index[0].split("/")[0] for product in client.polygons_v2(**filters)]
    assert polygons == names


def test_names_and_limits_choose_products(client, facts) -> None:
    wanted = [facts.middle, facts.oldest]
    assert [product.product_id for product in client.segmentations_v1(product_ids=wanted)] == wanted
    assert len(list(client.polygons_v2(product_ids=wanted, limit=1))) == 1


def test_a_refused_field_is_a_query_error(client) -> None:
    with pytest.raises(QueryError, match="give for example POLYGON") as caught:
        list(client.product_ids(area="nonsense"))
    assert caught.value.field == "wkt"
    with pytest.raises(QueryError, match="no time zone"):
        client.product_ids(start=dt.datetime(2022, 4, 30))  # noqa: DTZ001 - what is tested
    with pytest.raises(QueryError, match="no CORINE class"):
        client.polygons_v2(categories=["Woods"])


def test_nobody_listening_is_unavailable() -> None:
    with EarthSignatureClient("127.0.0.1:1", timeout_s=5) as client, pytest.raises(ServiceUnavailableError) as caught:
        list(client.product_ids())
    assert "127.0.0.1:1" in str(caught.value)
    assert caught.value.retryable


def test_other_statuses_are_typed(client) -> None:
    stream = client._stream("/snapearth.api.v1.DatabaseProductService/Unheard", b"", bytes)
    with pytest.raises(ServiceAnswerError, match="UNIMPLEMENTED"):
        next(stream)
    stream = client._stream("/snapearth.api.v1.DatabaseProductService/CreateProduct", b"", bytes)
    with pytest.raises(CredentialError):
        next(stream)


def test_a_reader_may_stop_early(client, facts) -> None:
    products = client.segmentations_v1()
    assert next(products).product_id == facts.newest
    products.close()
    assert len(list(client.segmentations_v1())) == 4


def test_fields_of_the_future_are_skipped(facts) -> None:
    geobuf = facts.content(facts.oldest, Asset.GEOBUF)
    answer = b"".join(length_delimited(1, geobuf)) + b"".join(length_delimited(20, b"corine-unet-v9"))
    assert _polygon_product(answer) == PolygonProduct(geobuf)


@pytest.mark.parametrize("answer", [b"", b"\x0a", b"\x0a\x05ab", b"\x0a\xff\xff", b"nonsense"])
def test_broken_answers_are_an_answer_error(answer) -> None:
    with pytest.raises(ServiceAnswerError, match=f"{len(answer)} bytes"):
        _polygon_product(answer)


@pytest.mark.parametrize("content", [b"", b"\x0a\x05ab", b"nonsense"])
def test_broken_polygons_are_an_answer_error(content) -> None:
    with pytest.raises(ServiceAnswerError):
        PolygonProduct(content).frame()
