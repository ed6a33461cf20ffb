"""Write a scene's patches: read, harmonise, resample, mask and split its bands, a block at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earthsignature_assets.imagery.masks.scene_classification import DEFAULT_MASKS, UNRELIABLE, UNSEEN, MaskSet
from earthsignature_assets.imagery.masks.scene_mask import read_scene_mask
from earthsignature_assets.imagery.patches.patch_store import PATCH_SIZE, create_patch_store
from earthsignature_assets.imagery.reading.resampling import nearest
from earthsignature_assets.imagery.reading.scene_reader import block_columns, read_blocks
from earthsignature_assets.imagery.scenes.scene import Scene
from earthsignature_assets.system.heap import return_free_memory

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PatchSummary:
    """The result of `write_patches`."""

    valid_pixels: int
    pixels: int
    patches_with_data: int
    patches: int
    seconds: float


def write_patches(
    scene: Scene,
    bands: Sequence[str],
    path: Path,
    patch_size: int = PATCH_SIZE,
    progress: Progress | None = None,
    masks: MaskSet = DEFAULT_MASKS,
) -> PatchSummary:
    """Read a scene's bands and write its patch store.

    Args:
        scene: the scene; every part holds every band.
        bands: the order of the stack.
        path: path of the store.
        patch_size: side of a patch in pixels.
        progress: called with the number of rows done and the total.
        masks: the classes that hide the ground.

    Raises:
        BandError: a band is damaged, on another CRS, does not cover the grid, or holds only zeros.
        ItemError: an item has no classification.
        ProviderUnavailableError: a server does not respond.
                StoreUnavailableError: the store cannot be written.
    """
    started = time.monotonic()
    grid = scene.grid
    mask, mask_grid = read_scene_mask(scene, masks)
    valid = patches_with_data = 0
    with create_patch_store(path, grid, bands, patch_size, scene=str(scene.key), product_id=scene.product_id) as writer:
        for block in read_blocks(scene, bands, patch_size, block_columns(scene, patch_size)):
            window = block.window
            states = nearest(mask.states, mask_grid, grid, window)
            no_data = block.no_data | (states == UNSEEN)
            observed = ~no_data
            unreliable = (states == UNRELIABLE) & observed
            if no_data.any():
                np.multiply(block.reflectance, observed, out=block.reflectance)
            patches_with_data += writer.write(window, block.reflectance, no_data, unreliable)
            valid += int(np.count_nonzero(observed))
            if progress and window.columns.stop == grid.width:
                progress(window.rows.stop, grid.height)
            del block  # otherwise it stays in memory until the next one is read
            return_free_memory()  # over many scenes freed memory adds up to 100 MB
    return_free_memory()
    return PatchSummary(
        valid_pixels=valid,
        pixels=grid.width * grid.height,
        patches_with_data=patches_with_data,
        patches=-(-grid.height // patch_size) * -(-grid.width // patch_size),
        seconds=time.monotonic() - started,
    )
