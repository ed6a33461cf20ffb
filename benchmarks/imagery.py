"""Imagery: from the bands of a scene to its patches."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import imagery_peers
from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from earthsignature_assets.imagery.patches.patch_store import PatchStore
    from earthsignature_assets.imagery.scenes.scene import Scene


_TILE_PIXELS = 10_980
_DELAY_S = 0.05


def simulated_scene(options: Options) -> "Scene":
    """Return the scene of `simulated_item`."""
    from earthsignature_assets.imagery.providers.provider import PROVIDERS
    from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
    from earthsignature_assets.sentinel2 import S2_BANDS

    return Scene((scene_item(simulated_item(options), PROVIDERS["earth-search"], S2_BANDS),))


def simulated_item(options: Options) -> dict[str, Any]:
    """Return the item of a simulated scene of the requested size, created if it is absent or the simulator changed."""
    import datetime as dt

    import earthsignature_assets

    sources = hashlib.sha256()
    # Located without import: a contender that only reads the scene must not hold the simulator in memory.
    for path in sorted(Path(earthsignature_assets.__path__[0]).glob("simulator/*.py")):
        sources.update(path.read_bytes())
    folder = options.folder / "scenes" / f"{options.size}-{sources.hexdigest()[:12]}"
    # The simulator writes the item last: if it exists, so do the bands.
    found = sorted(folder.rglob("S2*.json"))
    if found:
        item: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
        return item
    for outdated in folder.parent.glob(f"{options.size}-*"):
        shutil.rmtree(outdated)
    from earthsignature_assets import simulator
    from earthsignature_assets.keys import SceneKey

    recipe = simulator.SceneRecipe(SceneKey(dt.date(2026, 5, 1), 22, "32TQM"), options.size, cloud_cover=0.1)
    return simulator.simulate_scene(recipe, folder).item


def write_patch_store(options: Options, path: Path) -> "PatchStore":
    """Write the patches of the simulated scene."""
    from earthsignature_assets.imagery.patches.patch_store import PatchStore
    from earthsignature_assets.imagery.patches.patch_writing import write_patches
    from earthsignature_assets.sentinel2 import S2_BANDS

    write_patches(simulated_scene(options), S2_BANDS, path)
    return PatchStore(path)


def _prepare(options: Options) -> None:
    simulated_scene(options)


@contextmanager
def _patches(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.imagery.patches.patch_writing import write_patches
    from earthsignature_assets.sentinel2 import S2_BANDS

    scene = simulated_scene(options)
    yield lambda: a_tile(write_patches(scene, S2_BANDS, options.folder / "patches.zarr").seconds, options)


@contextmanager
def _patches_without_writing(options: Options) -> Iterator[Callable[[], float]]:
    """Read the same blocks and the mask of the scene, and discard them."""
    from earthsignature_assets.imagery.masks.scene_mask import read_scene_mask

    scene = simulated_scene(options)

    def work() -> float:
        started = time.perf_counter()
        read_scene_mask(scene)
        masked = time.perf_counter() - started
        return a_tile(masked + _read_through(scene), options)

    yield work


def a_tile(seconds: float, options: Options) -> float:
    """Extrapolate to a full tile by its area."""
    return seconds * (_TILE_PIXELS / options.size) ** 2


@contextmanager
def _read(options: Options) -> Iterator[Callable[[], float]]:
    """Read block by block, harmonised and resampled, with no data marked, as for patches; discard each block."""
    scene = simulated_scene(options)
    yield lambda: _read_through(scene)


def _read_through(scene: "Scene") -> float:
    from earthsignature_assets.imagery.patches.patch_store import PATCH_SIZE
    from earthsignature_assets.imagery.reading.scene_reader import block_columns, read_blocks
    from earthsignature_assets.sentinel2 import S2_BANDS

    started = time.perf_counter()
    pixels = 0
    for block in read_blocks(scene, S2_BANDS, PATCH_SIZE, block_columns(scene, PATCH_SIZE)):
        pixels += block.no_data.size
        del block  # as for patches: otherwise it stays in memory until the next one is read
    assert pixels == scene.grid.width * scene.grid.height
    return time.perf_counter() - started


@contextmanager
def _read_from_afar(options: Options, connections: int = 8) -> Iterator[Callable[[], float]]:
    with _far_scene(options, connections) as scene:
        yield lambda: _read_through(scene)


@contextmanager
def _read_from_afar_one_by_one(options: Options) -> Iterator[Callable[[], float]]:
    with _read_from_afar(options, connections=1) as work:
        yield work


@contextmanager
def _naively_from_afar(options: Options) -> Iterator[Callable[[], float]]:
    from benchmarks.imagery_peers import read_naively

    with _far_scene(options, 1) as scene:
        yield lambda: read_naively(scene)


@contextmanager
def _far_scene(options: Options, connections: int) -> "Iterator[Scene]":
    """Serve the simulated scene with a delay of each request."""
    from earthsignature_assets.imagery.providers.access import Access
    from earthsignature_assets.imagery.scenes.band_asset import BandFile
    from earthsignature_assets.imagery.scenes.scene import Scene

    part = simulated_scene(options).parts[0]
    folder = Path(part.bands["B02"].href).parent
    script = Path(__file__).with_name("slow_file_server.py")
    server = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(_DELAY_S)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        root = server.stdout.readline().strip()
        bands = {band: BandFile(f"{root}/{Path(file.href).name}", file.offset_dn) for band, file in part.bands.items()}
        yield Scene((replace(part, bands=bands, access=Access(connections=connections)),))
    finally:
        server.kill()
        server.wait()


def _tile_classification(options: Options) -> "npt.NDArray[np.uint8]":
    """Return the simulated classification, repeated to a full tile."""
    import numpy as np
    import rasterio

    classification = simulated_scene(options).parts[0].classification
    assert classification is not None
    with rasterio.open(classification.href) as dataset:
        values = dataset.read(1)
    side = _TILE_PIXELS // 2
    repeats = -(-side // values.shape[0])
    return np.ascontiguousarray(np.tile(values, (repeats, repeats))[:side, :side])


@contextmanager
def _cloud_mask(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.imagery.masks.scene_classification import mask_scene

    classification = _tile_classification(options)

    def work() -> float:
        started = time.perf_counter()
        mask_scene(classification)
        return time.perf_counter() - started

    yield work


@contextmanager
def _cloud_mask_by_scipy(options: Options) -> Iterator[Callable[[], float]]:
    """Mask with `numpy.isin` and `scipy.ndimage.binary_dilation` with the same disc; clouds only, without figures."""
    import numpy as np
    from scipy.ndimage import binary_dilation

    classification = _tile_classification(options)
    y, x = np.ogrid[-5:6, -5:6]

    def work() -> float:
        started = time.perf_counter()
        binary_dilation(np.isin(classification, (3, 8, 9, 10)), x * x + y * y <= 25)
        return time.perf_counter() - started

    yield work


_NAIVE, _RIOXARRAY, _ODC = "naive rasterio", "rioxarray", "odc-stac"

ROWS = (
    Row(
        name="read_scene",
        title="ten bands of {size}² px: read, harmonise, resample to 10 m",
        unit="s ({size}² px)",
        own=_read,
        peers={
            _NAIVE: imagery_peers.naive_rasterio,
            _RIOXARRAY: imagery_peers.by_rioxarray,
            _ODC: imagery_peers.by_odc_stac,
        },
        target=Target(
            "≥ 3× naive rasterio, ≥ 5× odc-stac, ≤ 0.6 GB",
            lambda value, peers: peers[_NAIVE] >= 3 * value and peers.get(_ODC, 5 * value) >= 5 * value,
            most_mb=0.6e9 / (1 << 20),
        ),
        prepare=_prepare,
        repetitions=3,
        needs={_ODC: imagery_peers.without_odc_stac},
    ),
    Row(
        name="read_from_afar",
        title=f"the same from a server that delays each request by {1000 * _DELAY_S:.0f} ms",
        unit="s ({size}² px)",
        own=_read_from_afar,
        peers={"ours, one connection": _read_from_afar_one_by_one, _NAIVE: _naively_from_afar},
        target=Target(
            "≥ 2× one connection, ≤ 0.6 GB",
            lambda value, peers: peers["ours, one connection"] >= 2 * value,
            most_mb=0.6e9 / (1 << 20),
        ),
        prepare=_prepare,
        repetitions=3,
    ),
    Row(
        name="cloud_mask",
        title="a tile's classification (5490² px) to masks and figures, clouds grown by 100 m",
        unit="s",
        own=_cloud_mask,
        peers={"scipy, clouds alone": _cloud_mask_by_scipy},
        target=Target("≤ 0.3 s", lambda value, _: value <= 0.3),
        prepare=_prepare,
        repetitions=3,
    ),
    Row(
        name="patches",
        title="a scene of {size}² px to patches: read, harmonise, resample, mask, write as Zarr",
        unit="s a tile (from {size}² px)",
        own=_patches,
        peers={
            "naive rasterio, xarray.to_zarr": imagery_peers.naive_rasterio_to_zarr,
            "ours, masks and blocks, not written": _patches_without_writing,
        },
        target=Target("≤ 15 s, ≤ 0.6 GB", lambda value, _: value <= 15, most_mb=0.6e9 / (1 << 20)),
        prepare=_prepare,
        repetitions=3,
    ),
)
