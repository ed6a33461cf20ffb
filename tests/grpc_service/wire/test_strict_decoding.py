"""Strict decoding: accepted bytes mean the same to google protobuf, all others are a QueryError."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from earthsignature_assets.errors import QueryError
from earthsignature_grpc.messages.snapearth.api import v1, v2
from earthsignature_grpc.wire.descriptors import wire_class
from earthsignature_grpc.wire.strict_decoding import decode_request, length_delimited

NAME = "snapearth.api.v1.ListSegmentationRequest"


def _decode(content: bytes) -> v1.ListSegmentationRequest:
    return decode_request(content, v1.ListSegmentationRequest, NAME)


REQUESTS = st.builds(
    lambda **fields: {name: value for name, value in fields.items() if value is not None},
    wkt=st.none() | st.text(max_size=20),
    start_date=st.none()
    | st.datetimes(timezones=st.just(dt.UTC)).map(lambda moment: Timestamp(seconds=int(moment.timestamp()))),
    product_ids=st.lists(st.text(max_size=8), max_size=3),
    categories=st.lists(st.text(max_size=8), max_size=3),
    n_results=st.none() | st.integers(-(2**31), 2**31 - 1),
)


@settings(deadline=None, database=None)  # a busy machine is no fault
@given(REQUESTS)
def test_messages_of_google_protobuf_are_read(stubs: SimpleNamespace, fields: dict[str, Any]) -> None:
    request = _decode(stubs.v1.ListSegmentationRequest(**fields).SerializeToString())
    assert (request.wkt, request.n_results) == (fields.get("wkt"), fields.get("n_results"))
    assert (request.product_ids, request.categories) == (fields["product_ids"], fields["categories"])
    start = fields.get("start_date")
    assert request.start_date == (None if start is None else start.ToDatetime(dt.UTC))


@settings(deadline=None, database=None)  # a busy machine is no fault
@given(REQUESTS, st.data())
def test_a_cut_request_is_refused_or_a_whole_one(
    stubs: SimpleNamespace, fields: dict[str, Any], data: st.DataObject
) -> None:
    content = stubs.v1.ListSegmentationRequest(**fields).SerializeToString()
    cut = content[: data.draw(st.integers(0, len(content)))]
    try:
        request = _decode(cut)
    except QueryError as error:
        assert ".proto" in error.remedy  # noqa: PT017 - either outcome is right, and both are checked
    else:
        assert wire_class(NAME).FromString(bytes(request)) == wire_class(NAME).FromString(cut)


@settings(deadline=None, database=None)  # a busy machine is no fault
@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_a_query_error(content: bytes) -> None:
    for name, kind in ((NAME, v1.ListSegmentationRequest), (NAME.replace("v1", "v2"), v2.ListSegmentationRequest)):
        try:
            request = decode_request(content, kind, name)
        except QueryError:
            continue
        assert isinstance(request, kind)


def test_a_field_that_comes_twice_counts_once() -> None:
    first, second = length_delimited(1, b"first"), length_delimited(1, b"second")
    assert _decode(b"".join(first + second)).wkt == "second"
    # Two halves of a Timestamp merge into one.
    assert _decode(b"\x12\x02\x08\x05" + b"\x12\x02\x10\x00").start_date == dt.datetime(
        1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC
    )


def test_unset_and_empty_are_told_apart() -> None:
    assert _decode(b"").wkt is None
    assert _decode(b"\x0a\x00").wkt == ""
    assert _decode(b"\x12\x00").start_date == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def test_numbers_are_read_packed_and_unpacked() -> None:
    name = NAME.replace("v1", "v2")
    for content in (b"\x2a\x04\xb8\x02\xb7\x02", b"\x28\xb8\x02\x28\xb7\x02"):
        assert decode_request(content, v2.ListSegmentationRequest, name).categories == [312, 311]


@pytest.mark.parametrize(("seconds", "nanos"), [(253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 10**9)])
def test_moments_beyond_the_calendar_are_refused(stubs: SimpleNamespace, seconds: int, nanos: int) -> None:
    stamp = Timestamp(seconds=seconds, nanos=nanos)
    with pytest.raises(QueryError, match="9999-12-31") as caught:
        _decode(stubs.v1.ListSegmentationRequest(end_date=stamp).SerializeToString())
    assert caught.value.field == "end_date"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_blobs_are_framed_as_google_protobuf_frames_them(stubs: SimpleNamespace, size: int) -> None:
    payload = bytes(size)
    if size:
        theirs = stubs.v1.SegmentationResponse(cloud_mask=payload).SerializeToString()
        assert b"".join(length_delimited(3, payload)) == theirs
    assert stubs.v1.SegmentationResponse.FromString(b"".join(length_delimited(3, payload))).cloud_mask == payload


def test_a_field_number_of_two_bytes_is_framed() -> None:
    assert b"".join(length_delimited(20, b"x")) == b"\xa2\x01\x01x"
