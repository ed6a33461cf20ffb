"""The rows of the error table as a client sees them: status, message, and machine-readable details."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedDetail
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from grpc_status import rpc_status

from tests.grpc_service.conftest import Facts, StartServer
from tests.raw_calls import unary_stream, unary_unary

V1 = "/snapearth.api.v1.DatabaseProductService"
V2 = "/snapearth.api.v2.DatabaseProductService"
LEGACY = "/snapearth.api.v1.database.DatabaseProductService"
SQUARE = "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"


@pytest.fixture(scope="module")
def channel(server: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server) as channel:
        yield channel


def _refusal(channel: grpc.Channel, method: str, request: bytes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        list(unary_stream(channel, method)(request, timeout=10))
    return caught.value


def _status(error: grpc.RpcError) -> Any:
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    assert status is not None
    return status


def _violation(error: grpc.RpcError) -> BadRequest.FieldViolation:
    (packed,) = _status(error).details
    assert isinstance(packed, PackedDetail)
    detail = BadRequest()
    assert packed.Unpack(detail)
    assert _status(error).code == error.code().value[0]
    (violation,) = detail.field_violations
    return violation


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
@pytest.mark.parametrize("method", ["ListSegmentation", "ListProductIds"])
@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        ({"wkt": "POLYGON ((0 0, 1"}, "wkt", "give, for example, POLYGON"),
        ({"wkt": "nonsense"}, "wkt", "give, for example, POLYGON"),
        ({"wkt": "POLYGON ((0 0, 1 0, nan 1, 0 0))"}, "wkt", "not finite"),
        ({"wkt": "POLYGON ((0 0, 181 0, 1 1, 0 0))"}, "wkt", "longitude ±180"),
        ({"wkt": "POLYGON EMPTY"}, "wkt", "leave wkt out"),
        ({"wkt": "POINT (1 1)"}, "wkt", "buffer it"),
        ({"wkt": "POLYGON ((" + "0 0," * 20_000 + "0 0))"}, "wkt", "simplify the area"),
        ({"start_date": Timestamp(seconds=2), "end_date": Timestamp(seconds=1)}, "start_date", "swap them"),
        ({"start_date": Timestamp(seconds=2**62)}, "start_date", "9999-12-31"),
        ({"end_date": Timestamp(nanos=-1)}, "end_date", "nanos"),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(
    channel: grpc.Channel,
    stubs: SimpleNamespace,
    service: str,
    method: str,
    fields: dict[str, Any],
    field: str,
    remedy: str,
) -> None:
    messages = stubs.v2 if service == V2 else stubs.v1
    request = getattr(messages, f"{method}Request")(**fields).SerializeToString()
    error = _refusal(channel, f"{service}/{method}", request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    violation = _violation(error)
    assert violation.field == field
    assert remedy in violation.description
    assert (error.details() or "").startswith(f"{field}: ")


@pytest.mark.parametrize("method", ["ListSegmentation", "ListProductIds"])
@pytest.mark.parametrize(
    ("service", "category"), [(V1, "Forests"), (V1, "999"), (V1, ""), (V2, 999), (V2, -1), (V2, 0)]
)
def test_an_unknown_category_is_refused(
    channel: grpc.Channel, stubs: SimpleNamespace, service: str, method: str, category: str | int
) -> None:
    messages = stubs.v2 if service == V2 else stubs.v1
    request = getattr(messages, f"{method}Request")(categories=[category]).SerializeToString()
    error = _refusal(channel, f"{service}/{method}", request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _violation(error).field == "categories"
    assert "312" in _violation(error).description or "111…523" in _violation(error).description


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
def test_a_negative_limit_is_refused(channel: grpc.Channel, stubs: SimpleNamespace, service: str) -> None:
    request = stubs.v1.ListSegmentationRequest(n_results=-1).SerializeToString()
    error = _refusal(channel, f"{service}/ListSegmentation", request)
    assert (error.code(), _violation(error).field) == (grpc.StatusCode.INVALID_ARGUMENT, "n_results")


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
@pytest.mark.parametrize(
    ("request_bytes", "field"),
    [
        (b"\x0a\x50POLYGON", "ListSegmentationRequest"),  # wkt says 80 bytes, 7 follow
        (b"\x0a", "ListSegmentationRequest"),  # a tag without its value
        (b"\xff" * 11, "ListSegmentationRequest"),  # a varint without an end
        (b"\x0a\x02\xc3\x28", "ListSegmentationRequest"),  # wkt is not UTF-8
        (b"\x12\x05\x08\x01", "ListSegmentationRequest"),  # start_date is cut
        (b"\x00\x01", "ListSegmentationRequest"),  # field number 0
        (b"\x08\x01", "wkt"),  # a varint where a string belongs
        (b"\x32\x01\x05", "n_results"),  # a string where a varint belongs
        (b"\x12\x03\x0a\x01\x31", "start_date.seconds"),  # a string inside a Timestamp
        (b"\xa0\x01\x01", "model"),
    ],
)
def test_malformed_bytes_are_refused(channel: grpc.Channel, service: str, request_bytes: bytes, field: str) -> None:
    error = _refusal(channel, f"{service}/ListSegmentation", request_bytes)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _violation(error).field == field
    assert ".proto" in _violation(error).description


def test_a_request_of_the_other_version_is_refused_by_field(channel: grpc.Channel, stubs: SimpleNamespace) -> None:
    names = stubs.v1.ListSegmentationRequest(categories=["312 x"]).SerializeToString()
    # Version 2 reads these as packed varints, none of which is a class.
    assert _violation(_refusal(channel, f"{V2}/ListSegmentation", names)).field == "categories"


def test_fields_of_the_future_are_skipped(channel: grpc.Channel) -> None:
    assert len(list(unary_stream(channel, f"{V1}/ListSegmentation")(b"\xf8\x07\x01", timeout=10))) == 4


def test_an_unreadable_model_is_refused(channel: grpc.Channel) -> None:
    error = _refusal(channel, f"{V1}/ListSegmentation", b"\xa2\x01\x03U-1")
    assert _violation(error).field == "model"
    assert "corine-unet-v1" in _violation(error).description


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
def test_writing_needs_a_credential(channel: grpc.Channel, service: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary_unary(channel, f"{service}/CreateProduct")(
            b"", timeout=10, metadata=(("authorization", "Bearer invented"),)
        )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "credential" in (caught.value.details() or "")


def test_search_of_the_older_name_is_unimplemented(channel: grpc.Channel, stubs: SimpleNamespace) -> None:
    request = stubs.older.SearchSegmentationRequest(query="forest").SerializeToString()
    error = _refusal(channel, f"{LEGACY}/SearchSegmentation", request)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "ListSegmentation" in (error.details() or "")


def test_an_oversized_request_is_refused(channel: grpc.Channel, stubs: SimpleNamespace) -> None:
    request = stubs.v1.ListSegmentationRequest(product_ids=["x" * 1_000_000] * 5).SerializeToString()
    assert _refusal(channel, f"{V1}/ListSegmentation", request).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_absent_store_is_unavailable_until_it_returns(
    start_server: StartServer, facts: Facts, tmp_path: Path
) -> None:
    store = tmp_path / "not-mounted-yet"
    with start_server(store) as (address, _), grpc.insecure_channel(address) as channel:
        error = _refusal(channel, f"{V1}/ListSegmentation", b"")
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert str(tmp_path) not in (error.details() or "")
        (packed,) = _status(error).details
        detail = RetryInfo()
        assert packed.Unpack(detail)
        assert detail.retry_delay == Duration(seconds=5)
        shutil.copytree(facts.root, store)
        assert len(list(unary_stream(channel, f"{V2}/ListSegmentation")(b"", timeout=10))) == 4


def test_a_lost_file_is_data_loss_and_names_no_path(start_server: StartServer, facts: Facts, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(facts.root, store)
    (store / facts.products[facts.middle].folder / "land_cover.tif").unlink()
    with start_server(store) as (address, _), grpc.insecure_channel(address) as channel:
        error = _refusal(channel, f"{V1}/ListSegmentation", b"")
        assert error.code() is grpc.StatusCode.DATA_LOSS
        assert "products/" not in (error.details() or "")
