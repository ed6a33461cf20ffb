from collections.abc import Generator
from typing import cast

import numpy as np
from rasterio._env import get_gdal_config

from earthsignature_assets.grid import PixelWindow
from earthsignature_assets.imagery.reading.band_reader import gdal_environment
from earthsignature_assets.imagery.reading.scene_reader import read_blocks
from earthsignature_assets.imagery.scenes.scene import Scene
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE


def test_blocks_come_row_by_row_and_equal_the_whole(scene: Scene) -> None:
    (whole,) = read_blocks(scene, S2_BANDS, 600, 600)
    windows = []
    for block in read_blocks(scene, S2_BANDS, 250, 400):
        windows.append(block.window)
        assert np.array_equal(block.reflectance, whole.reflectance[:, *block.window.index])
        assert np.array_equal(block.no_data, whole.no_data[block.window.index])
    columns = slice(0, 400), slice(400, 600)
    rows = slice(0, 250), slice(250, 500), slice(500, 600)
    assert windows == [PixelWindow(row, column) for row in rows for column in columns]


def told_to_gdal() -> int:
    return int(cast("int", get_gdal_config("GDAL_CACHEMAX")))


def test_the_cache_grows_and_shrinks_with_the_open_scenes(scene: Scene) -> None:
    least = BLOCK_CACHE.size_bytes
    with BLOCK_CACHE.held(least):
        blocks = read_blocks(scene, S2_BANDS, 100, 100)
        next(blocks)
        # Each file is one block of 1024 px: four of 10 m, and six of 20 m of which two rows are kept.
        assert BLOCK_CACHE.size_bytes == least + 2 * 1024 * 1024 * (4 + 2 * 6)
        for _ in range(2):  # also after a thread has left its environment, which would reset an option
            with gdal_environment():
                pass
            assert told_to_gdal() == BLOCK_CACHE.size_bytes
        assert isinstance(blocks, Generator)
        blocks.close()  # as if processing a block had failed
    assert BLOCK_CACHE.size_bytes == told_to_gdal() == least
