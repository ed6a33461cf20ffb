"""Imagery: from a scene's bands to its patches."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.row import Options, Row

if TYPE_CHECKING:
    from earthsignature_assets.imagery.patch_store import PatchStore
    from earthsignature_assets.imagery.scene import Scene


def simulated_scene(options: Options) -> "Scene":
    """A simulated scene of the size wanted, made when it, or the simulator's code, is new."""
    import datetime as dt

    import earthsignature_assets.simulator as simulator
    from earthsignature_assets.imagery.provider import PROVIDERS
    from earthsignature_assets.imagery.scene import Scene, scene_item
    from earthsignature_assets.keys import SceneKey
    from earthsignature_assets.models.repository import S2_BANDS

    sources = hashlib.sha256()
    for path in sorted(Path(simulator.__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    folder = options.folder / "scenes" / f"{options.size}-{sources.hexdigest()[:12]}"
    # The simulator writes the item last: where it is, the bands are.
    found = sorted(folder.rglob("S2*.json"))
    if found:
        item = json.loads(found[0].read_text(encoding="utf-8"))
    else:
        for outdated in folder.parent.glob(f"{options.size}-*"):
            shutil.rmtree(outdated)
        recipe = simulator.SceneRecipe(SceneKey(dt.date(2026, 5, 1), 22, "32TQM"), options.size, cloud_cover=0.1)
        item = simulator.simulate_scene(recipe, folder).item
    return Scene((scene_item(item, PROVIDERS["earth-search"], S2_BANDS),))


def write_patch_store(options: Options, path: Path) -> "PatchStore":
    """The patches of the simulated scene, written anew."""
    from earthsignature_assets.imagery.patch_store import PatchStore
    from earthsignature_assets.imagery.patches import write_patches
    from earthsignature_assets.models.repository import S2_BANDS

    write_patches(simulated_scene(options), S2_BANDS, path)
    return PatchStore(path)


def _prepare(options: Options) -> None:
    simulated_scene(options)


@contextmanager
def _patches(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.imagery.patches import write_patches
    from earthsignature_assets.models.repository import S2_BANDS

    scene = simulated_scene(options)
    yield lambda: write_patches(scene, S2_BANDS, options.folder / "patches.zarr").seconds


@contextmanager
def _patches_without_write(options: Options) -> Iterator[Callable[[], float]]:
    """The same code with a store that keeps nothing: what reading, harmonising, resampling and masking cost."""

    class Nowhere:
        def write(self, *_: object) -> None: ...

    def create(*_: object, **__: object) -> nullcontext[Nowhere]:
        return nullcontext(Nowhere())

    with mock.patch("earthsignature_assets.imagery.patches.create_patch_store", create), _patches(options) as work:
        yield work


@contextmanager
def _naive_rasterio(options: Options) -> Iterator[Callable[[], float]]:
    """Each band whole, resampled by GDAL while it is read, as float32 in one array; no mask, nothing written."""
    import numpy as np
    import rasterio
    from rasterio.enums import Resampling

    scene = simulated_scene(options)

    def work() -> float:
        started = time.perf_counter()
        stack = np.empty((len(scene.parts[0].bands), *scene.grid.shape), np.float32)
        for layer, band in zip(stack, scene.parts[0].bands.values(), strict=True):
            with rasterio.open(band.href) as dataset:
                layer[:] = dataset.read(1, out_shape=scene.grid.shape, resampling=Resampling.bilinear)
        stack += next(iter(scene.parts[0].bands.values())).offset_dn
        stack /= 10_000
        return time.perf_counter() - started

    yield work


ROWS = (
    Row(
        name="patches",
        title="a scene of {size}² px to patches: read, harmonise, resample, mask, write as Zarr",
        unit="s ({size}² px)",
        own=_patches,
        peers={
            "naive rasterio, read and resample only": _naive_rasterio,
            "ours without the write": _patches_without_write,
        },
        prepare=_prepare,
    ),
)
