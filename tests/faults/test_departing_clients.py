"""Clients that leave a stream, at their deadline or silently: their calls free everything they held."""

import asyncio
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
import shapely

from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.client.channel import CHANNEL_OPTIONS
from earthsignature_grpc.server.server import running_server
from earthsignature_grpc.wire.strict_decoding import encode
from tests.raw_calls import unary_stream
from tests.waiting import within

PRODUCT_ID = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"
PRODUCTS = 5
LARGE = 36 << 20
"""Bytes of a file: larger than all buffers between a server and an idle client, and than the blocks that the server's
allocator keeps, so that memory still resident after a call is what the call left behind."""
IDS = "/snapearth.api.v1.DatabaseProductService/ListProductIds"
WATCH = "/earthsignature.v3.LandCoverService/WatchProducts"
STREAMS = [
    pytest.param("/snapearth.api.v1.DatabaseProductService/ListSegmentation", b"", id="v1"),
    pytest.param("/snapearth.api.v2.DatabaseProductService/ListSegmentation", b"", id="v2"),
    pytest.param(
        "/earthsignature.v3.LandCoverService/DownloadAsset",
        encode("earthsignature.v3.DownloadAssetRequest", product_id=PRODUCT_ID, asset="land_cover"),
        id="download",
    ),
    pytest.param(WATCH, b"", id="watch"),
]
CLIENT = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ProductStore:
    """Products whose rasters and polygons are far larger than the buffers between server and client."""
    store, model = ProductStore(tmp_path_factory.mktemp("large") / "store"), ModelVersion("corine-unet", 1)
    contents = {Asset.LAND_COVER: bytes(LARGE), Asset.CLOUD_MASK: b"clear", Asset.GEOBUF: bytes(LARGE)}
    item = {
        "assets": {
            asset.name.lower(): {
                "href": f"./{asset.value}",
                "file:checksum": "1220" + hashlib.sha256(content).hexdigest(),
                "file:size": len(content),
            }
            for asset, content in contents.items()
        }
    }
    store.root.mkdir()
    contents[Asset.ITEM] = json.dumps(item).encode()
    for asset, content in contents.items():
        (store.root / asset.value).write_bytes(content)
    with store.open_catalogue() as catalogue:
        for day in range(PRODUCTS):
            sensed_at = dt.datetime(2026, 5, 1 + day, 10, tzinfo=dt.UTC)
            scene = SceneKey(sensed_at.date(), 65, "32TQM")
            folder = f"products/{model}/{scene}/0123456789abcdef"
            (store.root / folder).mkdir(parents=True)
            for asset in contents:
                (store.root / folder / asset.value).hardlink_to(store.root / asset.value)
            catalogue.record(
                Product(
                    product_id=PRODUCT_ID.replace("20260501T1", f"202605{1 + day:02d}T1"),
                    scene=scene,
                    model=model,
                    product_type="S2MSI2A",
                    sensed_at=sensed_at,
                    published_at=sensed_at,
                    footprint=shapely.box(11.4, 45.0, 12.8, 46.0),
                    cloud_cover_percent=0.0,
                    class_codes=frozenset({211}),
                    folder=folder,
                )
            )
    return store


class Wire:
    """A network link between a client and a server that can go dead: bytes stop, but no connection closes."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._alive = asyncio.Event()
        self._alive.set()
        self._relays: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """The address of its client end."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for relay in self._relays:
                relay.cancel()
            await asyncio.gather(*self._relays, return_exceptions=True)
            server.close()
            await server.wait_closed()

    def cut(self) -> None:
        self._alive.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        for source, target in ((reader, to_server), (from_server, writer)):
            self._relays.add(asyncio.create_task(self._relay(source, target)))

    async def _relay(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while content := await source.read(1 << 16):
                await self._alive.wait()
                target.write(content)
                await target.drain()
        except ConnectionError:
            await self._alive.wait()
        finally:
            target.transport.abort()


def _open_files(process_id: int, below: Path) -> list[str]:
    """Return the product files that a process has open."""
    found = []
    for entry in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return [path for path in found if path.startswith(str(below / "products"))]


async def _admitted(address: str) -> bool:
    """Tell whether the server has room for a call."""
    async with grpc.aio.insecure_channel(address, CLIENT) as channel:
        call = unary_stream(channel, IDS)(b"", timeout=10)
        with suppress(grpc.aio.AioRpcError):
            assert len([name async for name in call]) == PRODUCTS
        code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return code is grpc.StatusCode.OK


@pytest.mark.parametrize(("method", "request_"), STREAMS)
async def test_a_client_that_vanishes(store: ProductStore, method: str, request_: bytes) -> None:
    limits = Limits(calls=1, silent_s=1.0, answer_s=1.0, cache_bytes=0)
    async with running_server(store, "127.0.0.1:0", limits) as port:
        direct, wire = f"127.0.0.1:{port}", Wire(port)
        assert await _admitted(direct)
        tracemalloc.start()
        try:
            async with wire.laid() as address, grpc.aio.insecure_channel(address, CLIENT) as channel:
                stream = unary_stream(channel, method)(request_)
                assert await stream.read() is not grpc.aio.EOF
                wire.cut()
                assert not await _admitted(direct)
                deadline = time.monotonic() + 15
                while not await _admitted(direct):
                    assert time.monotonic() < deadline, "what the vanished client's call held is not freed"
                    await asyncio.sleep(0.1)
                assert _open_files(os.getpid(), store.root) == []
                # The client has not noticed yet, and holds at most the messages it has read.
                assert not stream.done()
                stream.cancel()
            del stream
            await asyncio.sleep(0.1)
            held, _ = tracemalloc.get_traced_memory()
            assert held < LARGE / 2
        finally:
            tracemalloc.stop()


async def test_a_quiet_client_that_answers_pings_is_not_ended(store: ProductStore) -> None:
    limits = Limits(silent_s=0.5, answer_s=0.5)
    async with (
        running_server(store, "127.0.0.1:0", limits) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", CLIENT) as channel,
    ):
        watch = unary_stream(channel, WATCH)(b"")
        await watch.read()
        await asyncio.sleep(3.0)
        assert not watch.done()
        watch.cancel()


async def test_a_waiting_client_notices_a_vanished_service(store: ProductStore) -> None:
    quickly = {"grpc.keepalive_time_ms": 1000, "grpc.keepalive_timeout_ms": 1000, "grpc.http2.ping_timeout_ms": 1000}
    options = [(name, quickly.get(name, value)) for name, value in CHANNEL_OPTIONS]
    limits = Limits(silent_s=1.0, answer_s=1.0)
    async with running_server(store, "127.0.0.1:0", limits) as port:
        wire = Wire(port)
        async with wire.laid() as address, grpc.aio.insecure_channel(address, options) as asking:
            watch = unary_stream(asking, WATCH)(b"")
            await watch.read()
            await asyncio.sleep(4.0)  # long enough for three pings
            assert not watch.done()
            wire.cut()
            async with asyncio.timeout(15):
                assert await watch.code() is grpc.StatusCode.UNAVAILABLE


@contextmanager
def _server_process(store: Path, log: Path, *options: str) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(store), "--listen", "127.0.0.1:0", *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, log.read_text()
            yield line.split()[-1], process.pid
        finally:
            process.terminate()
            process.communicate(timeout=40)


def _resident_mb(process_id: int) -> float:
    status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.parametrize(("method", "request_"), STREAMS)
def test_deadlines_that_pass_within_a_stream(store: ProductStore, tmp_path: Path, method: str, request_: bytes) -> None:
    calls, timeout_s, log = 4, 2.0, tmp_path / "server.log"
    ended, resident_mb = f"{method[1:]} ", list[float]()
    with _server_process(store.root, log, "--calls", str(calls), "--cache-mib", "0") as (address, process_id):
        channels = [grpc.insecure_channel(address, options=CLIENT) for _ in range(calls + 1)]

        def admitted() -> bool:
            call = unary_stream(channels[-1], IDS)(b"", timeout=20)
            with suppress(grpc.RpcError):
                assert len(list(call)) == PRODUCTS
            assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
            return call.code() is grpc.StatusCode.OK

        try:
            for number in (1, 2, 3):
                # Nobody reads: the server waits with the messages it has made.
                streams = [unary_stream(channel, method)(request_, timeout=timeout_s) for channel in channels[:-1]]
                time.sleep(timeout_s)
                for stream in streams:
                    with pytest.raises(grpc.RpcError) as caught:
                        list(stream)
                    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                expected = number * calls
                assert within(10, lambda: log.read_text().count(ended) == expected), log.read_text()  # noqa: B023
                assert admitted()
                assert within(10, lambda: not _open_files(process_id, store.root))
                resident_mb.append(_resident_mb(process_id))
            assert "Traceback" not in log.read_text()
            # On fast machines the network buffers a whole unread stream: such a call ends normally.
            assert f"{ended}CANCELLED" in log.read_text()
            # gRPC frees its own memory of a call a moment after the call ends.
            most_mb = resident_mb[0] + LARGE / 2 / (1 << 20)
            assert within(10, lambda: _resident_mb(process_id) < most_mb), (resident_mb, _resident_mb(process_id))
        finally:
            for channel in channels:
                channel.close()
