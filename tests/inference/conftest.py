"""Engines and patches for the inference tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.patches.patch_store import PatchStore, create_patch_store
from earthsignature_assets.sentinel2 import S2_BANDS


@pytest.fixture
def make_patches(tmp_path: Path) -> Callable[..., PatchStore]:
    def make(
        shape: tuple[int, int],
        valid: npt.NDArray[np.bool_] | None = None,
        seed: int = 0,
        level: str = "L2A",
        bands: tuple[str, ...] = S2_BANDS,
        patch_size: int = 64,
    ) -> PatchStore:
        grid = PixelGrid(32632, 600000.0, 5000040.0, 10.0, shape[1], shape[0])
        no_data = np.zeros(shape, bool) if valid is None else ~valid
        stack = np.random.default_rng(seed).integers(1, 4000, (len(bands), *shape), np.uint16)
        stack[:, no_data] = 0
        path = tmp_path / f"{shape}_{seed}.zarr"
        product = f"S2B_MSI{level}_20260501T100559_N0511_R022_T32TQM_20260501T120000"
        with create_patch_store(path, grid, bands, patch_size, product_id=product) as writer:
            writer.write(grid.whole, stack, no_data, np.zeros_like(no_data))
        return PatchStore(path)

    return make
