"""The service: products streamed to a client of API v1."""

import datetime as dt
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.row import Options, Row, Target

_PRODUCTS = 20
_PRODUCT_BYTES = 1_500_000
_CLOUD_MASK_BYTES = 100_000
_STREAMS = 5
_GOOGLE = "google-protobuf on grpc.aio"
_GOOGLE_TIMES = 2.3


def _store_path(options: Options) -> Path:
    return options.folder / "stream-store"


def _prepare(options: Options) -> None:
    """A store of products whose rasters are noise: neither the service nor its peers look inside."""
    import numpy as np
    import shapely

    from earthsignature_assets.keys import ModelVersion, SceneKey
    from earthsignature_assets.products.product import Asset, Product
    from earthsignature_assets.products.store import ProductStore

    shutil.rmtree(_store_path(options), ignore_errors=True)
    random, model = np.random.default_rng(3), ModelVersion("corine-unet", 1)
    with ProductStore(_store_path(options)).open_catalogue() as catalogue:
        for number in range(_PRODUCTS):
            sensed_at = dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC) + dt.timedelta(days=number)
            scene = SceneKey(sensed_at.date(), 22, "32TQM")
            product = Product(
                product_id=f"S2B_MSIL2A_{sensed_at:%Y%m%dT%H%M%S}_N0511_R022_T32TQM_{sensed_at:%Y%m%dT%H%M%S}",
                scene=scene,
                model=model,
                product_type="S2MSI2A",
                sensed_at=sensed_at,
                published_at=sensed_at,
                footprint=shapely.box(11.4, 45.0, 12.8, 46.0),
                cloud_cover_percent=12.637376,
                class_codes=frozenset({211, 311}),
                folder=f"products/{model}/{scene}/{number:016x}",
            )
            folder = _store_path(options) / product.folder
            folder.mkdir(parents=True, exist_ok=True)
            (folder / Asset.LAND_COVER).write_bytes(random.bytes(_PRODUCT_BYTES - _CLOUD_MASK_BYTES))
            (folder / Asset.CLOUD_MASK).write_bytes(random.bytes(_CLOUD_MASK_BYTES))
            catalogue.record(product)


@contextmanager
def _stream_from(*server: str, options: Options) -> Iterator[Callable[[], float]]:
    """Start a server process and read its stream as bytes: what the client decodes is the same for all."""
    import grpc

    command = [sys.executable, "-m", *server, "--store", str(_store_path(options)), "--listen", "127.0.0.1:0"]
    log = options.folder / f"stream-{server[-1]}.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout
        port = process.stdout.readline().strip().rpartition(":")[2]
        assert port, log.read_text()
        limit = [("grpc.max_receive_message_length", 1 << 30)]
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", limit) as channel:
                call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                    "/snapearth.api.v1.DatabaseProductService/ListSegmentation"
                )
                yield partial(_mb_per_second, lambda: call(b"", timeout=60))
        finally:
            process.terminate()
            process.wait()


def _mb_per_second(call: Callable[[], Iterator[bytes]]) -> float:
    started = time.perf_counter()
    sizes = [len(message) for _ in range(_STREAMS) for message in call()]
    seconds = time.perf_counter() - started
    assert len(sizes) == _STREAMS * _PRODUCTS, len(sizes)
    return sum(sizes) / 1e6 / seconds


def _service(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("earthsignature_grpc", options=options)


def _raw_bytes(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("benchmarks.stream_peer", "--kind", "raw", options=options)


def _google_protobuf(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("benchmarks.stream_peer", "--kind", "google", options=options)


ROWS = (
    Row(
        name="v1_stream",
        title=f"{_PRODUCTS} products of {_PRODUCT_BYTES / 1e6:g} MB from a service process to a client, API v1",
        unit="MB/s",
        own=_service,
        peers={"raw bytes from memory on grpc.aio": _raw_bytes, _GOOGLE: _google_protobuf},
        target=Target(f"≥ {_GOOGLE_TIMES}× {_GOOGLE}", lambda value, peers: value >= _GOOGLE_TIMES * peers[_GOOGLE]),
        prepare=_prepare,
        repetitions=9,
        higher_is_better=True,
    ),
)
