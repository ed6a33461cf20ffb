"""The server process: start, drain, stop, and log."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earthsignature_assets.errors import ServiceUnavailableError
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.server.server import running_server
from tests.grpc_service.conftest import Facts, StartServer
from tests.raw_calls import unary_stream

V1 = "/snapearth.api.v1.DatabaseProductService"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start_server: StartServer, facts: Facts, number: int) -> None:
    with start_server(facts.root) as (address, process):
        with grpc.insecure_channel(address) as channel:
            assert len(list(unary_stream(channel, f"{V1}/ListSegmentation")(b"", timeout=10))) == 4
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    assert output == ""
    assert "Traceback" not in errors
    assert f"{V1[1:]}/ListSegmentation OK 4 messages" in errors


def test_a_stream_under_way_is_finished_before_it_stops(
    start_server: StartServer, facts: Facts, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(facts.root, store)
    for product in facts.products.values():
        # Larger than all buffers on the way, so that the stream cannot end before the signal.
        (store / product.folder / "land_cover.tif").write_bytes(bytes(24 << 20))
    options = [("grpc.max_receive_message_length", 1 << 30)]
    with start_server(store) as (address, process), grpc.insecure_channel(address, options=options) as channel:
        stream = unary_stream(channel, f"{V1}/ListSegmentation")(b"", timeout=30)
        next(stream)
        process.terminate()
        assert _refused_within(address, seconds=10)
        assert len(list(stream)) == 3
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_under_load_every_call_is_finished_or_refused_whole(
    start_server: StartServer, facts: Facts, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(facts.root, store)
    for product in facts.products.values():
        (store / product.folder / "land_cover.tif").write_bytes(bytes(2 << 20))
    options = [("grpc.max_receive_message_length", 1 << 30), ("grpc.use_local_subchannel_pool", 1)]
    outcomes: list[tuple[grpc.StatusCode, int]] = []

    def call_until_refused(address: str) -> None:
        with grpc.insecure_channel(address, options=options) as channel:
            code = grpc.StatusCode.OK
            while code is grpc.StatusCode.OK:
                stream, received = unary_stream(channel, f"{V1}/ListSegmentation")(b"", timeout=60), 0
                with suppress(grpc.RpcError):
                    for _ in stream:
                        received += 1
                code = stream.code()
                outcomes.append((code, received))

    log = tmp_path / "server.log"
    with start_server(store, log=log) as (address, process), ThreadPoolExecutor(12) as threads:
        clients = [threads.submit(call_until_refused, address) for _ in range(12)]
        while len(outcomes) < 36:
            assert not any(client.done() for client in clients), outcomes
            time.sleep(0.01)
        before = len(outcomes)
        process.terminate()
        for client in clients:
            client.result(timeout=60)
        assert process.wait(timeout=40) == 0
    # gRPC cancels calls that arrive while it closes. None is cut off.
    refused = {(grpc.StatusCode.UNAVAILABLE, 0), (grpc.StatusCode.CANCELLED, 0)}
    assert set(outcomes) - refused == {(grpc.StatusCode.OK, 4)}
    assert set(outcomes) & refused
    assert len(outcomes) - before >= 12
    finished = sum(code is grpc.StatusCode.OK for code, _ in outcomes)
    assert log.read_text().count(f"{V1[1:]}/ListSegmentation OK 4 messages") == finished


def _refused_within(address: str, seconds: float) -> bool:
    """Tell whether the address stops accepting connections.

    It tries plain sockets: a gRPC call that the closing listener accepts can hang in its client past its deadline.
    """
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            continue  # accepted and cut off by the closing listener: not a refusal yet
        time.sleep(0.01)
    return False


def test_a_taken_port_is_refused(server: str, facts: Facts) -> None:
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(facts.root), "--listen", server]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode == 1
    assert f"cannot listen on {server}" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_taken_port_raises(server: str, facts: Facts) -> None:
    with pytest.raises(ServiceUnavailableError, match="choose another address"):
        async with running_server(facts.root, server):
            pass


async def test_limits_are_those_given(facts: Facts) -> None:
    async with (
        running_server(facts.root, "127.0.0.1:0", Limits(request_bytes=100, calls=1)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = unary_stream(channel, f"{V1}/ListProductIds")
        assert len([answer async for answer in call(b"")]) == 4
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [answer async for answer in call(b"\x0a\x7f" + b"x" * 127)]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_too_many_calls_are_refused(facts: Facts) -> None:
    async with (
        running_server(facts.root, "127.0.0.1:0", Limits(calls=1)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        watch = unary_stream(channel, "/grpc.health.v1.Health/Watch")(b"")
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [answer async for answer in unary_stream(channel, f"{V1}/ListProductIds")(b"")]
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watch.cancel()


async def test_health_answers_for_each_service(facts: Facts) -> None:
    async with (
        running_server(facts.root, "127.0.0.1:0") as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", V1[1:]):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_many_clients_at_once_get_whole_answers(server: str) -> None:
    counts: list[int] = []

    def read() -> None:
        with grpc.insecure_channel(server, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            counts.append(len(list(unary_stream(channel, f"{V1}/ListSegmentation")(b"", timeout=30))))

    threads = [threading.Thread(target=read) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [4] * 24


async def test_large_messages_travel_uncompressed(facts: Facts, tmp_path: Path) -> None:
    store, zeros = tmp_path / "store", bytes(20 << 20)
    shutil.copytree(facts.root, store)
    (store / facts.products[facts.oldest].folder / "land_cover.tif").write_bytes(zeros)
    travelled = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: bool) -> None:
        nonlocal travelled
        while content := await reader.read(1 << 20):
            travelled += len(content) if counted else 0
            writer.write(content)
            await writer.drain()
        writer.close()

    async with running_server(store, "127.0.0.1:0") as server_port:

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", server_port)
            await asyncio.gather(relay(reader, to_server, False), relay(from_server, writer, True))

        between = await asyncio.start_server(connect, "127.0.0.1", 0)
        target = f"127.0.0.1:{between.sockets[0].getsockname()[1]}"
        # This client accepts gzip and deflate on every call, and zeros compress well.
        async with (
            between,
            grpc.aio.insecure_channel(target, [("grpc.max_receive_message_length", 1 << 30)]) as channel,
        ):
            answers = [answer async for answer in unary_stream(channel, f"{V1}/ListSegmentation")(b"", timeout=30)]
    assert len(answers) == 4
    assert max(map(len, answers)) > len(zeros)
    assert travelled > sum(map(len, answers))
