"""The service: products and their names, streamed to a client of API v1."""

import datetime as dt
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.catalogue import prepare as prepare_catalogue
from benchmarks.row import Options, Row, Target

_PRODUCTS = 20
_PRODUCT_BYTES = 1_500_000
_CLOUD_MASK_BYTES = 100_000
_STREAMS = 5
_CLIENTS = 64
_SLOW_BYTES, _SLOW_PAUSE_S = 1 << 18, 0.05
_MOST_MIB = 300
_MOST_MS = 20
_RAW = "raw bytes from memory on grpc.aio"
_SEGMENTATION = "/snapearth.api.v1.DatabaseProductService/ListSegmentation"
_NAMES = "/snapearth.api.v1.DatabaseProductService/ListProductIds"
_GOOGLE = "google-protobuf on grpc.aio"
_SAME_WITH_GOOGLE = "this server with google-protobuf messages"
_GOOGLE_TIMES = 2.3
_NAMED = 10_000
_NAME_BYTES = 280
_NAMES_TIMES = 1.3


def _store_path(options: Options) -> Path:
    return options.folder / "stream-store"


def _prepare(options: Options) -> None:
    """Create a store of products with rasters of noise: neither the service nor its peers decode them."""
    import numpy as np
    import shapely

    from earthsignature_assets.keys import ModelVersion, SceneKey
    from earthsignature_assets.products.product import Asset, Product
    from earthsignature_assets.products.store.product_store import ProductStore

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
def _server(*server: str, store: Path, log: Path) -> Iterator[tuple[int, int]]:
    """Start a server process, and yield its port and process id."""
    command = [sys.executable, "-m", *server, "--store", str(store), "--listen", "127.0.0.1:0"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout
        port = process.stdout.readline().strip().rpartition(":")[2]
        assert port, log.read_text()
        try:
            yield int(port), process.pid
        finally:
            process.terminate()
            process.wait()


_OWN = ("earthsignature_grpc", "--calls-per-second", "0", "--calls-of-client", "0")


@contextmanager
def _stream_from(*server: str, options: Options) -> Iterator[Callable[[], float]]:
    """Measure megabytes a second of a server's streams to a client that only counts, see `stream_reader`."""
    from benchmarks.stream_reader import StreamReader

    log = options.folder / f"stream-{'-'.join(server)}.log"

    def mb_per_second() -> float:
        reader = StreamReader("127.0.0.1", port, _SEGMENTATION)
        started = time.perf_counter()
        size = sum(size for _ in range(_STREAMS) for size in reader.call())
        seconds = time.perf_counter() - started
        reader.close()
        assert size > _STREAMS * _PRODUCTS * _PRODUCT_BYTES, size
        return size / 1e6 / seconds

    with _server(*server, store=_store_path(options), log=log) as (port, _):
        yield mb_per_second


def _prepare_names(options: Options) -> None:
    prepare_catalogue(replace(options, products=_NAMED))


@contextmanager
def _names_from(*server: str, options: Options) -> Iterator[Callable[[], float]]:
    """Measure names a second of a server that searches its catalogue, to a client that only counts bytes."""
    from benchmarks.catalogue import catalogue_path
    from benchmarks.stream_reader import StreamReader

    store = catalogue_path(replace(options, products=_NAMED)).parent

    def names_per_second() -> float:
        reader = StreamReader("127.0.0.1", port, _NAMES)
        started = time.perf_counter()
        size = sum(reader.call())
        seconds = time.perf_counter() - started
        reader.close()
        assert size > _NAMED * _NAME_BYTES, size
        return _NAMED / seconds

    with _server(*server, store=store, log=options.folder / f"names-{server[-1]}.log") as (port, _):
        yield names_per_second


@contextmanager
def _many_clients(*server: str, options: Options) -> Iterator[Callable[[], float]]:
    """Measure the peak resident MiB of a server while 64 clients stream, one of them slowly."""
    from benchmarks.stream_reader import StreamReader

    log = options.folder / f"memory-{server[-1]}.log"

    def read(port: int, pause_s: float) -> None:
        reader = StreamReader("127.0.0.1", port, _SEGMENTATION)
        sizes = []
        for size in reader.call(_SLOW_BYTES if pause_s else 1 << 20):
            sizes.append(size)
            time.sleep(pause_s)
        reader.close()
        assert sum(sizes) > _PRODUCTS * _PRODUCT_BYTES

    with _server(*server, store=_store_path(options), log=log) as (port, pid):

        def peak_mb() -> float:
            with ThreadPoolExecutor(_CLIENTS) as threads:
                list(threads.map(read, [port] * _CLIENTS, [0.0] * (_CLIENTS - 1) + [_SLOW_PAUSE_S]))
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            return int(status.partition("VmHWM:")[2].split()[0]) / 1024

        yield peak_mb


def _searches_store(options: Options) -> Path:
    return options.folder / "first-byte-store"


def _prepare_searches(options: Options) -> None:
    """Create the files of the products that the searches find, as links to two files of noise."""
    import numpy as np

    from benchmarks.catalogue import catalogue_path, queries
    from earthsignature_assets.products.catalogue.catalogue import ProductQuery
    from earthsignature_assets.products.product import Asset
    from earthsignature_assets.products.store.product_store import ProductStore

    prepare_catalogue(options)
    root = _searches_store(options)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "catalogue.sqlite").symlink_to(catalogue_path(options).resolve())
    random = np.random.default_rng(5)
    sizes = {Asset.LAND_COVER: _PRODUCT_BYTES - _CLOUD_MASK_BYTES, Asset.CLOUD_MASK: _CLOUD_MASK_BYTES}
    for asset, size in sizes.items():
        (root / asset).write_bytes(random.bytes(size))
    with ProductStore(root).open_catalogue(read_only=True) as catalogue:
        folders = {
            product.folder
            for area, start, end in queries()
            for product in catalogue.search(ProductQuery(area=area, start=start, end=end))
        }
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for asset in sizes:
            (root / folder / asset).hardlink_to(root / asset)


@contextmanager
def _first_bytes(options: Options) -> Iterator[Callable[[], float]]:
    """Measure milliseconds to the first product, p50, of searches by place and month without cached products."""
    import grpc

    from benchmarks.catalogue import queries
    from earthsignature_grpc.wire.strict_decoding import encode

    asked = [
        encode(
            "snapearth.api.v1.ListSegmentationRequest",
            wkt=area.wkt,
            start_date={"seconds": int(start.timestamp())},
            end_date={"seconds": int(end.timestamp())},
        )
        for area, start, end in queries()
    ]
    log = options.folder / "first-byte.log"
    with (
        _server(*_OWN, "--cache-mib", "0", store=_searches_store(options), log=log) as (port, _),
        grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_receive_message_length", 1 << 30)]) as channel,
    ):
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_SEGMENTATION)

        def p50_ms() -> float:
            taken = []
            for request in asked:
                started = time.perf_counter()
                stream = call(request, timeout=60)
                first = next(stream, None)
                if first is not None:  # a search that finds nothing has no first message
                    taken.append((time.perf_counter() - started) * 1e3)
                    assert len(first) > _PRODUCT_BYTES
                    stream.cancel()
            assert len(taken) > len(asked) / 2, f"only {len(taken)} searches found a product"
            return median(taken)

        yield p50_ms


def _service(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from(*_OWN, options=options)


def _uncached(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from(*_OWN, "--cache-mib", "0", options=options)


def _with_google_messages(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("benchmarks.google_messages", *_OWN[1:], "--cache-mib", "0", options=options)


def _raw_bytes(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("benchmarks.stream_peer", "--kind", "raw", options=options)


def _google_protobuf(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _stream_from("benchmarks.stream_peer", "--kind", "google", options=options)


def _own_memory(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _many_clients(*_OWN, options=options)


def _google_memory(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _many_clients("benchmarks.stream_peer", "--kind", "google", options=options)


def _own_names(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _names_from(*_OWN, options=options)


def _raw_names(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _names_from("benchmarks.stream_peer", "--kind", "raw", options=options)


def _google_names(options: Options) -> AbstractContextManager[Callable[[], float]]:
    return _names_from("benchmarks.stream_peer", "--kind", "google", options=options)


def _streams_well(value: float, peers: Mapping[str, float]) -> bool:
    return value >= _GOOGLE_TIMES * peers[_SAME_WITH_GOOGLE] and value >= 0.9 * peers[_RAW]


def _names_well(value: float, peers: Mapping[str, float]) -> bool:
    return value >= _NAMES_TIMES * peers[_GOOGLE]


ROWS = (
    Row(
        name="v1_stream",
        title=f"{_PRODUCTS} products of {_PRODUCT_BYTES / 1e6:g} MB, requested before, from a server process to a "
        "client that only counts bytes, API v1",
        unit="MB/s",
        own=_service,
        peers={
            _RAW: _raw_bytes,
            _SAME_WITH_GOOGLE: _with_google_messages,
            _GOOGLE: _google_protobuf,
            "EarthSignature without its cache": _uncached,
        },
        target=Target(f"≥ {_GOOGLE_TIMES}× {_SAME_WITH_GOOGLE}, ≥ 0.9× raw bytes", _streams_well),
        prepare=_prepare,
        repetitions=41,  # a tenth of a second each: other processes disturb some of them
        higher_is_better=True,
    ),
    Row(
        name="v1_memory",
        title=f"Peak memory of the server while {_CLIENTS} clients stream {_PRODUCTS} products of "
        f"{_PRODUCT_BYTES / 1e6:g} MB and one of them reads slowly",
        unit="MiB",
        own=_own_memory,
        peers={_GOOGLE: _google_memory},
        target=Target(f"≤ {_MOST_MIB} MiB", lambda value, _: value <= _MOST_MIB),
        prepare=_prepare,
        repetitions=2,
    ),
    Row(
        name="ids",
        title=f"{_NAMED:,} product names with their footprints, searched for and streamed to a client that only counts "
        "bytes, API v1",
        unit="names/s",
        own=_own_names,
        peers={
            _GOOGLE: _google_names,
            "ready names from memory, no search": _raw_names,
        },
        target=Target(f"≥ {_NAMES_TIMES}× {_GOOGLE} after the same search", _names_well),
        prepare=_prepare_names,
        repetitions=7,
        higher_is_better=True,
    ),
    Row(
        name="first_byte",
        title=f"First product ({_PRODUCT_BYTES / 1e6:g} MB, on disk) of v1 `ListSegmentation` of a 1° box, 30 days, "
        "among {products} products, over the wire",
        unit="ms (p50, {products} products)",
        own=_first_bytes,
        target=Target(f"≤ {_MOST_MS} ms", lambda value, _: value <= _MOST_MS),
        prepare=_prepare_searches,
        repetitions=3,
    ),
)
