"""Patch stores for the inference rows: a full dense tile, a sparse one, and a part."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.imagery import write_patch_store
from benchmarks.row import Options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from earthsignature_assets.imagery.patches.patch_store import PatchStore

TILE = 10_980
PART = 2048
SPARSE_PERCENT = 5


def dense_tile(options: Options) -> "PatchStore":
    """Return a full tile without holes, created if absent from copies of the simulated scene side by side."""
    return _tile(options, "dense", TILE)


def part_of_tile(options: Options, side: int = PART) -> "PatchStore":
    """Return the same on fewer pixels."""
    return _tile(options, "dense", side)


def sparse_tile(options: Options) -> "PatchStore":
    """Return a full tile with a slanted valid strip of 5 % of its pixels, as at the edge of a swath."""
    return _tile(options, "sparse", TILE)


def _valid(kind: str, side: int) -> "npt.NDArray[np.bool_]":
    import numpy as np

    valid = np.ones((side, side), bool)
    if kind == "sparse":
        rows, columns = np.ogrid[:side, :side]
        # Swaths lean by about 12° from the grid; the strip is a triangle of the width that the share requires.
        lean = 0.2
        reach = (2 * lean * SPARSE_PERCENT / 100) ** 0.5 * side
        valid = columns < reach - lean * rows
    return valid


def _tile(options: Options, kind: str, side: int) -> "PatchStore":
    import numpy as np

    from earthsignature_assets.grid import PixelGrid
    from earthsignature_assets.imagery.patches import patch_store
    from earthsignature_assets.imagery.patches.patch_store import PATCH_SIZE, PatchStore, create_patch_store

    sources = hashlib.sha256(Path(str(patch_store.__file__)).read_bytes()).hexdigest()[:12]
    path = options.folder / "tiles" / f"{kind}-{side}-of-{options.size}-{sources}.zarr"
    if path.exists():
        return PatchStore(path)
    for outdated in path.parent.glob(f"{kind}-{side}-of-*.zarr"):
        shutil.rmtree(outdated)
    scene = write_patch_store(options, options.folder / "tile-source.zarr")
    source = scene.reflectance(slice(None))
    # The simulated clouds and defects stay; unobserved pixels would be a hole.
    source[:, scene.no_data()] = 1
    grid = PixelGrid(scene.grid.epsg, scene.grid.left_m, scene.grid.top_m, 10.0, side, side)
    valid = _valid(kind, side)
    product = "S2B_MSIL2A_20260501T100559_N0511_R022_T32TQM_20260501T120000"
    columns = np.arange(side) % source.shape[2]
    with create_patch_store(path, grid, scene.bands, PATCH_SIZE, product_id=product) as writer:
        for window in grid.whole.split(PATCH_SIZE, side):
            rows = window.rows
            reflectance = source[:, np.arange(rows.start, rows.stop) % source.shape[1]][:, :, columns]
            reflectance[:, ~valid[rows]] = 0
            writer.write(window, reflectance, ~valid[rows], np.zeros_like(valid[rows]))
    shutil.rmtree(options.folder / "tile-source.zarr")
    return PatchStore(path)
