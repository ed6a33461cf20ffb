"""A soak test: many clients with mixed calls and publishing for minutes; fails on growth and unexpected errors.

`make soak` runs it for ten minutes, `make soak SOAK_MINUTES=3` for three. Results are in build/soak.json.
"""

import argparse
import datetime as dt
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
import shapely

from earthsignature_assets.errors import EarthSignatureError, NoSuchProductError, QueryError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.nomenclature import CODES
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.item import content_digest, item_bytes, multihash
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.client import EarthSignatureClient, RetryPolicy

_TILES = ("32TPM", "32TPR", "32TQM", "32TQR", "33TUG", "33TVG", "33TUL", "33TXL")
_PRODUCTS = 48
_SIDE = 900  # pixels of 10 m: 1.5 MB of noise in 44 classes
_SAMPLE_S = 2.0
_PUBLISH_EVERY_S = 1.0
_SWEEP_EVERY_S = 20.0
_SWEEP_GRACE = dt.timedelta(seconds=15)
# Growth allowed between the second and the last third: allocators fluctuate, leaks keep growing.
_GROWTH, _GROWTH_MB = 0.08, 8.0
_MODEL = ModelVersion("corine-unet", 1)


@dataclass
class Tally:
    """Calls by kind, and unexpected errors."""

    calls: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, size: int = 0) -> None:
        with self.guard:
            self.calls[kind] += 1
            self.received_bytes += size


@dataclass(frozen=True)
class Sample:
    """State of the server's process: seconds since the start, resident MB, threads, open files."""

    at_s: float
    resident_mb: float
    threads: int
    files: int


class Publisher:
    """A publisher that publishes and replaces products, as the pipeline does from another process."""

    def __init__(self, store: ProductStore, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self._random = np.random.default_rng(7)

    def publish(self, number: int, content: int = 0) -> Product:
        """Create the product of a number; another `content` gives it other pixels."""
        tile = _TILES[number % len(_TILES)]
        sensed_at = dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC) + dt.timedelta(days=number // len(_TILES))
        whole = tile_grid(tile)
        grid = PixelGrid(whole.epsg, whole.left_m, whole.top_m, 10.0, _SIDE, _SIDE)
        codes = self._random.choice(np.array(CODES, np.uint16), (_SIDE, _SIDE))
        cloud = self._random.integers(0, 2, (_SIDE // 2, _SIDE // 2), np.uint8)
        files = {
            Asset.LAND_COVER: _geotiff(codes, grid),
            Asset.CLOUD_MASK: _geotiff(cloud, grid.at_resolution(20.0)),
            Asset.GEOBUF: b"\x10\x02\x18\x06\x22\x00" + self._random.bytes(400_000),
        }
        item = {
            "properties": {"created": "2026-06-01T00:00:00Z", "content": content},
            "assets": {
                asset.name.lower(): {
                    "href": f"./{asset.value}",
                    "file:checksum": multihash(data),
                    "file:size": len(data),
                }
                for asset, data in files.items()
            },
        }
        scene = SceneKey(sensed_at.date(), 22, tile)
        product = Product(
            product_id=f"S2B_MSIL2A_{sensed_at:%Y%m%dT%H%M%S}_N0511_R022_T{tile}_{sensed_at:%Y%m%dT%H%M%S}",
            scene=scene,
            model=_MODEL,
            product_type="S2MSI2A",
            sensed_at=sensed_at,
            published_at=dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
            footprint=grid.footprint(),
            cloud_cover_percent=float(number % 100),
            class_codes=frozenset(CODES),
            folder=f"products/{_MODEL}/{scene}/{content_digest(item)}",
        )
        folder = self._store.root / product.folder
        folder.mkdir(parents=True, exist_ok=True)
        for asset, data in {**files, Asset.ITEM: item_bytes(item)}.items():
            (folder / asset.value).write_bytes(data)
        earlier = self._catalogue.find(product.product_id, _MODEL)
        if earlier is not None:
            os.utime(self._store.root / earlier.folder)  # superseded now: its grace period starts
        self._catalogue.record(product)
        return product

    def run(self, stopped: threading.Event, tally: Tally) -> None:
        """Publish a new product or replace an older one every second, and sweep replaced ones."""
        swept_at = time.monotonic()
        for number in itertools.count(_PRODUCTS):
            if stopped.wait(_PUBLISH_EVERY_S):
                return
            self.publish(number if number % 8 == 0 else number % _PRODUCTS, content=number)
            tally.count("published")
            if time.monotonic() - swept_at > _SWEEP_EVERY_S:
                self._store.sweep(_SWEEP_GRACE)
                swept_at = time.monotonic()


def _geotiff(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.integer]]", grid: PixelGrid) -> bytes:
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "tiled": True}
    profile |= {"dtype": pixels.dtype, "crs": f"EPSG:{grid.epsg}", "transform": grid.transform, "compress": "deflate"}
    with rasterio.MemoryFile() as file:
        with file.open(**profile) as raster:
            raster.write(pixels, 1)
        return bytes(file.read())


def _area(chance: random.Random) -> shapely.Polygon:
    tile = chance.choice(_TILES)
    west, south, _, _ = tile_grid(tile).footprint().bounds
    return shapely.box(west, south + 0.9, west + 0.06, south + 1.2)


def _rasters(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    for product in client.segmentations_v1(area=_area(chance), limit=5):
        tally.count("v1 product", len(product.land_cover) + len(product.cloud_mask))


def _polygons(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    for product in client.polygons_v2(categories=[chance.choice(CODES)], limit=5):
        tally.count("v2 product", len(product.geobuf))


def _names(client: EarthSignatureClient, _: random.Random, tally: Tally, __: Path) -> None:
    tally.count("v1 names", sum(len(name.footprint.wkt) for name in client.product_ids()))


def _pages(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    for product in client.products(page_size=chance.randint(1, 20), max_cloud_percent=50):
        tally.count("v3 listed")
        if chance.random() < 0.05:
            client.product(product.product_id)


def _download(client: EarthSignatureClient, chance: random.Random, tally: Tally, folder: Path) -> None:
    product = next(client.products(start=dt.date(2026, 1, chance.randint(1, 5)), page_size=1, oldest_first=True))
    path = folder / f"{chance.randint(0, 3)}-{threading.get_ident()}.tif"
    client.download(product.product_id, "land_cover", path)
    tally.count("v3 download", path.stat().st_size)
    path.unlink()


def _summary(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    client.summarise(_area(chance), interval=chance.choice([None, "month"]), end=dt.date(2026, 1, 3))
    tally.count("v3 summary")


def _leaving(client: EarthSignatureClient, chance: random.Random, tally: Tally, __: Path) -> None:
    next(client.segmentations_v1(limit=chance.randint(2, 500)))  # and the iterator is dropped
    tally.count("left early")


def _slowly(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    for product in itertools.islice(client.segmentations_v1(), 10):
        tally.count("read slowly", len(product.land_cover))
        time.sleep(chance.uniform(0.5, 1.5))


def _refused(client: EarthSignatureClient, chance: random.Random, tally: Tally, _: Path) -> None:
    for refusal in (
        lambda: list(client.product_ids(area="POLYGON ((")),
        lambda: list(client.product_ids(area=f"POLYGON (({'1 1,' * chance.randint(1, 20_000)}2 2))")),
        lambda: client.product("S2B_MSIL2A_unknown"),
        lambda: client.summarise(shapely.box(-10, 35, 30, 60).buffer(chance.random()), interval="day"),
    ):
        try:
            refusal()
        except (QueryError, NoSuchProductError):
            tally.count("refused")


Visit = Callable[[EarthSignatureClient, random.Random, Tally, Path], None]
_VISITS: tuple[tuple[Visit, int], ...] = (
    (_rasters, 4),
    (_polygons, 2),
    (_names, 2),
    (_pages, 3),
    (_download, 3),
    (_summary, 1),
    (_leaving, 2),
    (_slowly, 2),
    (_refused, 1),
)


def _visit(visit: Visit, target: str, seed: int, folder: Path, stopped: threading.Event, tally: Tally) -> None:
    chance = random.Random(seed)
    while not stopped.is_set():
        # Clients open a new channel now and then.
        with EarthSignatureClient(target, timeout_s=120, retry=RetryPolicy(attempts=6)) as client:
            for _ in range(chance.randint(5, 50)):
                if stopped.is_set():
                    return
                try:
                    visit(client, chance, tally, folder)
                except EarthSignatureError as error:
                    with tally.guard:
                        tally.faults.append(f"{visit.__name__}: {error!r}")
                stopped.wait(chance.uniform(0.0, 0.2))


def _watch(target: str, stopped: threading.Event, tally: Tally) -> None:
    with EarthSignatureClient(target) as client:
        for news in client.watch(heartbeat_s=1):
            tally.count("news" if news.product else "sign of life")
            if stopped.is_set():
                return


def _samples(process_id: int, started: float) -> Iterator[Sample]:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    status = Path(f"/proc/{process_id}")
    while True:
        resident = int((status / "statm").read_text().split()[1]) * page_mb
        threads = len(list((status / "task").iterdir()))
        yield Sample(time.monotonic() - started, resident, threads, len(list((status / "fd").iterdir())))


def _verdict(samples: list[Sample], tally: Tally) -> list[str]:
    """Return the failures in sentences; none if the soak passed."""
    wrong = [f"{len(tally.faults)} calls failed, first: {tally.faults[0]}"] if tally.faults else []
    wrong += [
        f"nobody got as far as {kind!r}" for kind in ("v1 product", "v3 download", "news") if not tally.calls[kind]
    ]
    third = len(samples) // 3
    for name, most in (("resident_mb", _GROWTH_MB), ("threads", 2.0), ("files", 8.0)):
        before = median(getattr(sample, name) for sample in samples[third : 2 * third])
        after = median(getattr(sample, name) for sample in samples[-third:])
        if after > before * (1 + _GROWTH) + most:
            wrong.append(f"{name} grew from {before:.0f} to {after:.0f}")
    return wrong


def soak(minutes: float, folder: Path) -> int:
    """Run the soak, print its results, and return the exit status."""
    shutil.rmtree(folder, ignore_errors=True)
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    store, tally, stopped = ProductStore(folder / "store"), Tally(), threading.Event()
    samples: list[Sample] = []
    with store.open_catalogue() as catalogue:
        publisher = Publisher(store, catalogue)
        for number in range(_PRODUCTS):
            publisher.publish(number)
        with _service(store.root, folder.parent / "soak.log") as (target, process_id):
            visits = [visit for visit, count in _VISITS for _ in range(count)]
            threads = [
                threading.Thread(target=_visit, args=(visit, target, seed, downloads, stopped, tally))
                for seed, visit in enumerate(visits)
            ]
            threads += [threading.Thread(target=_watch, args=(target, stopped, tally)) for _ in range(4)]
            threads.append(threading.Thread(target=publisher.run, args=(stopped, tally)))
            for thread in threads:
                thread.start()
            started = time.monotonic()
            try:
                for sample in _samples(process_id, started):
                    samples.append(sample)
                    if len(samples) % 15 == 1:
                        print(
                            f"{sample.at_s:6.0f} s  {sample.resident_mb:6.1f} MB  {sample.threads:3d} threads  "
                            f"{sample.files:3d} files  {sum(tally.calls.values())} answers",
                            flush=True,
                        )
                    if sample.at_s >= 60 * minutes:
                        break
                    time.sleep(_SAMPLE_S)
            finally:
                stopped.set()
                for thread in threads:
                    thread.join(120)
    wrong = _verdict(samples, tally)
    seconds = samples[-1].at_s
    report = {
        "minutes": seconds / 60,
        "clients": len(visits) + 4,
        "answers": dict(tally.calls),
        "received_mb_per_s": tally.received_bytes / 1e6 / seconds,
        "resident_mb": {"least": min(s.resident_mb for s in samples[1:]), "most": max(s.resident_mb for s in samples)},
        "wrong": wrong,
        "samples": [vars(sample) for sample in samples],
    }
    (folder.parent / "soak.json").write_text(json.dumps(report, indent=1))
    print(json.dumps({key: value for key, value in report.items() if key != "samples"}, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


@contextmanager
def _service(store: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Start the service in a separate process, and yield its address and process id."""
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(store), "--listen", "127.0.0.1:0"]
    command += ["--calls-per-second", "0"]  # all clients here are one address
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        try:
            yield line.split()[-1], process.pid
        finally:
            process.terminate()
            process.wait(60)


def main() -> int:
    """Read the command line, and run the soak."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path("build/soak"), help="emptied first")
    arguments = parser.parse_args()
    return soak(arguments.minutes, arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
