"""The project's Python clients: answers, errors and retries."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import rasterio
import shapely
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.errors import (
    CredentialError,
    EarthSignatureError,
    NoSuchProductError,
    QueryError,
    ServiceAnswerError,
    ServiceUnavailableError,
    SupersededError,
)
from earthsignature_assets.nomenclature import CLASSES, class_of
from earthsignature_assets.products.product import Asset
from earthsignature_grpc.client import (
    AsyncEarthSignatureClient,
    EarthSignatureClient,
    PolygonProduct,
    RetryPolicy,
    Tls,
)
from earthsignature_grpc.client.answers import read_polygon_product
from earthsignature_grpc.client.requests import Call
from earthsignature_grpc.wire.strict_decoding import length_delimited
from tests.conftest import Deployment
from tests.grpc_service.conftest import Facts, MakeAuthority, StartServer

Ask = Callable[..., list[Any]]
_V1 = "/snapearth.api.v1.DatabaseProductService"


@pytest.fixture
def client(server: str) -> Iterator[EarthSignatureClient]:
    with EarthSignatureClient(server, timeout_s=20) as client:
        yield client


def _ask_with_threads(target: str, method: str, *arguments: Any, **options: Any) -> list[Any]:
    with EarthSignatureClient(target, timeout_s=20, **options.pop("client", {})) as client:
        return list(getattr(client, method)(*arguments, **options))


def _ask_with_asyncio(target: str, method: str, *arguments: Any, **options: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with AsyncEarthSignatureClient(target, timeout_s=20, **options.pop("client", {})) as client:
            return [answer async for answer in getattr(client, method)(*arguments, **options)]

    return asyncio.run(ask())


@pytest.fixture(params=[_ask_with_threads, _ask_with_asyncio], ids=["threads", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Return a function that calls a method of one of the two clients and collects the answers."""
    ask: Ask = request.param
    return ask


def test_rasters_come_with_their_facts(ask: Ask, server: str, facts: Facts) -> None:
    products = ask(server, "segmentations_v1")
    assert [product.product_id for product in products] == facts.newest_first
    newest = products[0]
    assert newest.land_cover == facts.content(facts.newest, Asset.LAND_COVER)
    assert newest.cloud_mask == facts.content(facts.newest, Asset.CLOUD_MASK)
    assert newest.footprint.equals(facts.products[facts.newest].footprint)
    assert (newest.acquired_on, newest.model) == (dt.date(2022, 4, 30), "corine-unet-v1")
    assert newest.cloud_cover_percent == pytest.approx(12.637376)


def test_rasters_open_as_arrays_that_name_their_classes(client: EarthSignatureClient, facts: Facts) -> None:
    (product,) = client.segmentations_v1(limit=1)
    classes = product.land_cover_array()
    with rasterio.open(facts.root / facts.products[facts.newest].folder / "land_cover.tif") as raster:
        np.testing.assert_array_equal(classes.to_numpy(), raster.read(1))
        assert classes.rio.crs == raster.crs
    assert (classes.name, classes.dims, classes.dtype) == ("land_cover", ("y", "x"), np.dtype(np.uint16))
    meanings = dict(zip(classes.attrs["flag_values"].tolist(), classes.attrs["flag_meanings"].split(), strict=True))
    assert len(meanings) == len(CLASSES)
    assert meanings[312] == "coniferous_forest"
    assert classes.attrs["flag_colors"].split()[0] == "#e6004d"
    mask = product.cloud_mask_array()
    assert (mask.shape, mask.attrs["flag_meanings"]) == ((32, 32), "clear cloud")


def test_both_rasters_open_on_one_grid(client: EarthSignatureClient, facts: Facts) -> None:
    (product,) = client.segmentations_v1(limit=1)
    dataset = product.dataset()
    np.testing.assert_array_equal(
        dataset.cloud_mask.to_numpy(), np.kron(product.cloud_mask_array().to_numpy(), np.ones((2, 2), np.uint8))
    )
    assert dataset.land_cover.dtype == np.uint16
    assert dataset.rio.crs == product.land_cover_array().rio.crs
    assert (dataset.attrs["product_id"], dataset.attrs["acquired_on"]) == (facts.newest, "2022-04-30")


@pytest.fixture(scope="module")
def published(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service over a product of the real chain."""
    with service_process(deployment.workspace.store.root, tmp_path_factory.mktemp("client") / "log") as address:
        yield address


def test_a_part_of_a_raster(ask: Ask, server: str, published: str) -> None:
    (coarse,) = ask(published, "segmentations_v1", limit=1, resolution_m=20, without_cloud_mask=True)
    classes = coarse.land_cover_array()
    assert (classes.shape, classes.rio.resolution()) == ((160, 160), (20.0, -20.0))
    assert list(coarse.dataset()) == ["land_cover"]
    with pytest.raises(ServiceAnswerError, match="requested without"):
        coarse.cloud_mask_array()
    with pytest.raises(QueryError) as caught:
        ask(server, "segmentations_v1", crop=True)
    assert caught.value.field == "crop"


def test_some_of_the_polygons(ask: Ask, published: str, deployment: Deployment) -> None:
    code = max(deployment.product.class_codes)
    (product,) = ask(published, "polygons_v2", polygon_categories=[class_of(code).name], min_area_m2=20_000.0)
    frame = product.frame()
    assert set(frame["code"]) == {code}
    assert frame["area_m2"].min() >= 20_000
    with pytest.raises(QueryError, match="not a CORINE class") as caught:
        ask(published, "polygons_v2", polygon_categories=["Woods"])
    assert caught.value.field == "polygon_categories"


def test_polygons_open_as_frames(ask: Ask, server: str, facts: Facts) -> None:
    frames = [product.frame() for product in ask(server, "polygons_v2")]
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
def test_filters_mean_the_same_everywhere(
    ask: Ask, server: str, facts: Facts, filters: dict[str, Any], expected: list[str]
) -> None:
    names = [getattr(facts, name) for name in expected]
    assert [product.product_id for product in ask(server, "segmentations_v1", **filters)] == names
    assert [product.product_id for product in ask(server, "product_ids", **filters)] == names
    polygons = [product.frame().index[0].split("/")[0] for product in ask(server, "polygons_v2", **filters)]
    assert polygons == names
    features = [product.frame().index[0] for product in ask(server, "product_features_v2", **filters)]
    assert features == names


def test_names_and_limits_choose_products(ask: Ask, server: str, facts: Facts) -> None:
    wanted = [facts.middle, facts.oldest]
    assert [product.product_id for product in ask(server, "segmentations_v1", product_ids=wanted)] == wanted
    assert len(ask(server, "polygons_v2", product_ids=wanted, limit=1)) == 1


def test_a_refused_field_is_a_query_error(ask: Ask, server: str) -> None:
    with pytest.raises(QueryError, match="give, for example, POLYGON") as caught:
        ask(server, "product_ids", area="nonsense")
    assert caught.value.field == "wkt"
    with pytest.raises(QueryError, match="no time zone"):
        ask(server, "product_ids", start=dt.datetime(2022, 4, 30))  # noqa: DTZ001 - what is tested
    with pytest.raises(QueryError, match="not a CORINE class"):
        ask(server, "polygons_v2", categories=["Woods"])


def test_nobody_listening_is_unavailable(ask: Ask) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1") as caught:
        ask("127.0.0.1:1", "product_ids", client={"retry": RetryPolicy(attempts=2, first_delay_s=0.01)})
    assert caught.value.retryable


def test_other_statuses_are_typed(ask: Ask, server: str) -> None:
    with pytest.raises(ServiceAnswerError, match="UNIMPLEMENTED"):
        ask(server, "_stream", Call(f"{_V1}/Unheard", b"", bytes))
    with pytest.raises(CredentialError):
        ask(server, "_stream", Call(f"{_V1}/CreateProduct", b"", bytes))


def test_a_reader_may_stop_early(client: EarthSignatureClient, facts: Facts) -> None:
    products = client.segmentations_v1()
    assert next(products).product_id == facts.newest
    assert isinstance(products, Generator)
    products.close()
    assert len(list(client.segmentations_v1())) == 4


class _Faults(grpc.GenericRpcHandler):
    """A service that plays a list of refusals and answers, and records each call."""

    def __init__(self, *statuses: tuple[grpc.StatusCode, float | None] | None, answers_first: bool = False) -> None:
        self.statuses = list(statuses)
        self.answers_first = answers_first
        self.calls: list[tuple[float, dict[str, Any]]] = []

    def service(self, _: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.calls.append((time.monotonic(), dict(context.invocation_metadata())))
        if self.answers_first:
            yield b"\x0a\x01a"
        refusal = self.statuses.pop(0) if self.statuses else None
        if refusal is None:
            yield b"\x0a\x01z"
            return
        code, retry_after_s = refusal
        status = status_pb2.Status(code=code.value[0], message="for now")
        if retry_after_s is not None:
            packed, delay = any_pb2.Any(), duration_pb2.Duration()
            delay.FromTimedelta(dt.timedelta(seconds=retry_after_s))
            packed.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            status.details.append(packed)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "for now")

    @contextmanager
    def listening(self) -> Iterator[str]:
        server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[self])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
QUICK = {"retry": RetryPolicy(attempts=3, first_delay_s=0.01, longest_delay_s=1.0)}


@pytest.mark.parametrize("passing", [UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_transient_failures_are_retried_when_the_service_says(ask: Ask, passing: grpc.StatusCode) -> None:
    faults = _Faults((EXHAUSTED, 0.3), (passing, None))
    with faults.listening() as target:
        assert ask(target, "polygons_v2", client=QUICK) == [PolygonProduct(b"z")]
    first, second, third = (moment for moment, _ in faults.calls)
    assert 0.3 <= second - first < 1
    assert third - second < 0.3


def test_attempts_come_to_an_end(ask: Ask) -> None:
    faults = _Faults(*[(UNAVAILABLE, None)] * 9)
    with faults.listening() as target, pytest.raises(ServiceUnavailableError):
        ask(target, "polygons_v2", client=QUICK)
    assert len(faults.calls) == 3


def test_a_requested_delay_of_hours_fails_the_call(ask: Ask) -> None:
    faults = _Faults((UNAVAILABLE, 3600.0))
    with faults.listening() as target, pytest.raises(ServiceUnavailableError) as caught:
        ask(target, "polygons_v2", client=QUICK)
    assert (len(faults.calls), caught.value.retry_after_s) == (1, 3600.0)


def test_a_half_read_stream_is_not_restarted(ask: Ask) -> None:
    faults = _Faults((UNAVAILABLE, None), answers_first=True)
    with faults.listening() as target, pytest.raises(ServiceUnavailableError):
        ask(target, "polygons_v2", client=QUICK)
    assert len(faults.calls) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INTERNAL, ServiceAnswerError),
        (grpc.StatusCode.DATA_LOSS, ServiceAnswerError),
        (grpc.StatusCode.NOT_FOUND, NoSuchProductError),
        (grpc.StatusCode.ABORTED, SupersededError),
        (grpc.StatusCode.PERMISSION_DENIED, CredentialError),
    ],
)
def test_permanent_failures_are_not_retried(ask: Ask, code: grpc.StatusCode, kind: type[EarthSignatureError]) -> None:
    faults = _Faults((code, None))
    with faults.listening() as target, pytest.raises(kind, match="for now"):
        ask(target, "polygons_v2", client=QUICK)
    assert len(faults.calls) == 1


def test_a_token_goes_with_every_call(ask: Ask) -> None:
    faults = _Faults(None)
    with faults.listening() as target:
        ask(target, "polygons_v2", client={"token": "secret"})
    ((_, metadata),) = faults.calls
    assert metadata["authorization"] == "Bearer secret"


@pytest.mark.parametrize("target", ["example.org:443", "dns:///example.org", "127.0.0.1.example.org:1", "10.0.0.1:1"])
def test_a_token_never_travels_in_plaintext(target: str) -> None:
    with pytest.raises(CredentialError, match=r"tls=Tls\(\)"):
        EarthSignatureClient(target, token="secret")
    with EarthSignatureClient(target, token="secret", tls=Tls()) as client:
        assert "secret" not in repr(client._connection)


@pytest.mark.parametrize(
    "target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/earthsignature", "dns:///localhost"]
)
def test_a_token_may_go_to_this_machine(target: str) -> None:
    EarthSignatureClient(target, token="secret").close()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match=r"no-such\.pem"):
        EarthSignatureClient(tls=Tls(authorities=tmp_path / "no-such.pem"))
    with pytest.raises(CredentialError, match="go together"):
        Tls(certificate=tmp_path)


def test_tls_with_a_client_certificate(
    ask: Ask, facts: Facts, start_server: StartServer, make_authority: MakeAuthority, tmp_path: Path
) -> None:
    authority, stranger = make_authority(tmp_path / "authority"), make_authority(tmp_path / "stranger")
    (certificate, key), own = authority.vouch("server"), authority.vouch("client")
    options = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", authority.certificate]
    with start_server(facts.root, *map(str, options)) as (address, _):
        known = {"tls": Tls(authority.certificate, *own), "token": "any", **QUICK}
        assert len(ask(address, "product_ids", client=known)) == 4
        for tls in (Tls(authority.certificate), Tls(stranger.certificate, *own), None):
            with pytest.raises(ServiceUnavailableError):
                ask(address, "product_ids", client={"tls": tls, **QUICK})


def test_fields_of_the_future_are_skipped(facts: Facts) -> None:
    geobuf = facts.content(facts.oldest, Asset.GEOBUF)
    answer = b"".join(length_delimited(1, geobuf)) + b"".join(length_delimited(20, b"corine-unet-v9"))
    assert read_polygon_product(answer) == PolygonProduct(geobuf)


@pytest.mark.parametrize("answer", [b"", b"\x0a", b"\x0a\x05ab", b"\x0a\xff\xff", b"nonsense"])
def test_broken_answers_are_an_answer_error(answer: bytes) -> None:
    with pytest.raises(ServiceAnswerError, match=f"{len(answer)} bytes"):
        read_polygon_product(answer)


@pytest.mark.parametrize("content", [b"", b"\x0a\x05ab", b"nonsense"])
def test_broken_polygons_are_an_answer_error(content: bytes) -> None:
    with pytest.raises(ServiceAnswerError):
        PolygonProduct(content).frame()
