"""Limits: the identity of a client, its rate of calls, and the share of the others."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from earthsignature_assets.errors import BusyError
from earthsignature_grpc.calls.admission import Admission, client_of
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.server.server import running_server
from tests.grpc_service.conftest import Facts
from tests.raw_calls import stream_stream, unary_stream

IDS = "/snapearth.api.v1.DatabaseProductService/ListProductIds"
WATCH = "/grpc.health.v1.Health/Watch"


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:127.0.0.1:50000", "ipv4:127.0.0.1"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:443", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::1%5D:1", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:80", "ipv4:10.0.0.1"),
        ("ipv6:[fe80::1%25eth0]:80", "ipv6:fe80::/64"),
        ("ipv6:%5B::1%5D:50000", "ipv6:::1"),
        ("unix:", "unix:"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_client_is_an_address_or_a_network(peer: str, client: str) -> None:
    assert client_of(peer) == client


async def _refused(channel: grpc.aio.Channel, method: str = IDS) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [answer async for answer in unary_stream(channel, method)(b"", timeout=10)]
    return caught.value


def _retry_after_s(error: grpc.aio.AioRpcError) -> float:
    status = rpc_status.from_call(cast("grpc.Call", _Call(error)))
    assert status is not None
    (packed,) = status.details
    detail = RetryInfo()
    assert packed.Unpack(detail)
    return float(detail.retry_delay.ToTimedelta().total_seconds())


class _Call:
    """An error of grpc.aio with the interface that `rpc_status` needs."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.details, self.trailing_metadata = error.code, error.details, error.trailing_metadata


async def test_calls_above_the_rate_are_refused_with_a_delay(facts: Facts) -> None:
    limits = Limits(calls_per_s=0.5, burst_s=4)  # two at once, then one every two seconds
    async with (
        running_server(facts.root, "127.0.0.1:0", limits) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for _ in range(2):
            assert len([answer async for answer in unary_stream(channel, IDS)(b"")]) == 4
        error = await _refused(channel)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        wait = _retry_after_s(error)
        assert 0 < wait <= 2
        await asyncio.sleep(wait + 0.01)
        assert len([answer async for answer in unary_stream(channel, IDS)(b"")]) == 4


async def test_health_and_reflection_count_too(facts: Facts) -> None:
    limits = Limits(calls_of_client=1)
    async with (
        running_server(facts.root, "127.0.0.1:0", limits) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        watch = unary_stream(channel, WATCH)(b"")
        await watch.read()
        error = await _refused(channel)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "your calls" in (error.details() or "")
        assert _retry_after_s(error) > 0
        reflection = stream_stream(channel, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [answer async for answer in reflection(iter([b"\x3a\x00"]))]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watch.cancel()
        # The cancelled call frees its place.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                assert len([answer async for answer in unary_stream(channel, IDS)(b"")]) == 4
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
        else:
            pytest.fail("the cancelled call still counts")


def test_one_client_leaves_the_others_their_share() -> None:
    admission = Admission(Limits(calls=3, calls_of_client=2, calls_per_s=0))
    with admission._admitted("a"), admission._admitted("a"):
        with pytest.raises(BusyError, match="your calls"), admission._admitted("a"):
            pass
        with admission._admitted("b"), pytest.raises(BusyError, match="this server"), admission._admitted("c"):
            pass
    assert (admission._all_under_way, dict(admission._under_way)) == (0, {})


def test_the_memory_of_clients_is_bounded() -> None:
    admission = Admission(Limits())
    for number in range(10_100):
        with admission._admitted(str(number)):
            pass
    assert len(admission._allowances) == 10_000


async def test_a_request_that_does_not_arrive_times_out(facts: Facts) -> None:
    async with (
        running_server(facts.root, "127.0.0.1:0", Limits(request_s=1.0)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        silent = stream_stream(channel, IDS)()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        empty = stream_stream(channel, IDS)()
        await empty.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await empty.read()
        assert "is missing" in (caught.value.details() or "")


async def test_a_second_request_is_ignored(facts: Facts) -> None:
    async with (
        running_server(facts.root, "127.0.0.1:0", Limits(calls_of_client=1)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for _ in range(3):  # the previous call freed its place
            call = stream_stream(channel, IDS)(iter([b"", b"\xff" * 20, b""]), timeout=10)
            assert len([answer async for answer in call]) == 4


async def test_an_unread_message_ends_the_call(facts: Facts, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(facts.root, store)
    for product in facts.products.values():
        (store / product.folder / "land_cover.tif").write_bytes(bytes(24 << 20))
    method = "/snapearth.api.v1.DatabaseProductService/ListSegmentation"
    async with (
        running_server(store, "127.0.0.1:0", Limits(stall_s=0.3)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        stream = unary_stream(channel, method)(b"")
        answers = aiter(stream)
        await anext(answers)
        await asyncio.sleep(4)  # a busy machine needs seconds until the next message waits
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [answer async for answer in answers]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
