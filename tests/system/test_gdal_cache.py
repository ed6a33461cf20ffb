from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import cast

from rasterio._env import get_gdal_config

import earthsignature_assets
import earthsignature_grpc
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE

LEAST = 64 << 20


def told_to_gdal() -> int:
    return int(cast("int", get_gdal_config("GDAL_CACHEMAX")))


def test_the_needs_of_all_threads_add_up_and_end_with_them() -> None:
    begun, ended = Barrier(3), Barrier(3)

    def need(size_bytes: int) -> None:
        with BLOCK_CACHE.held(size_bytes):
            begun.wait(10)
            ended.wait(10)

    with BLOCK_CACHE.held(), ThreadPoolExecutor(2) as threads:
        assert told_to_gdal() == LEAST
        needs = [threads.submit(need, size_bytes) for size_bytes in (50 << 20, 200 << 20)]
        begun.wait(10)
        assert told_to_gdal() == BLOCK_CACHE.size_bytes == 250 << 20
        ended.wait(10)
        for done in needs:
            done.result()
    assert told_to_gdal() == BLOCK_CACHE.size_bytes == LEAST


def test_no_other_module_sets_gdals_cache_size() -> None:
    """A size set elsewhere would override, for all threads, what the open rasters need."""
    sources = [
        path
        for package in (earthsignature_assets, earthsignature_grpc)
        for path in Path(package.__path__[0]).rglob("*.py")
        if "GDAL_CACHEMAX" in path.read_text(encoding="utf-8")
    ]
    assert [path.name for path in sources] == ["gdal_cache.py"]
