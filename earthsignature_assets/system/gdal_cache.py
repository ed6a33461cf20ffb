"""GDAL's cache of decoded blocks: one a process, of the size that the rasters open at the time need."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rasterio._env import set_gdal_config  # rasterio has no public name for what lasts, see `BlockCache`

_LEAST_BYTES = 64 << 20


class BlockCache:
    """How many bytes of decoded blocks GDAL may keep; never an option of `rasterio.Env`. For any number of threads.

    By itself GDAL takes a twentieth of the machine's memory. An option of an environment is everybody's too: threads in
    the middle of a file get its size, and when it is left all have what was before, most often that twentieth. It also
    counts in bytes, where GDAL's own small numbers are megabytes: 64 is no cache at all (measured: rasterio 1.4.4, GDAL
    3.10.3). A cache that is too small decodes the blocks of a file again for each row of windows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed_bytes = 0

    @contextmanager
    def held(self, size_bytes: int = 0) -> Iterator[None]:
        """Let the cache hold so much more while the block runs; 64 MiB in all are always there.

        Args:
            size_bytes: what lets each block be decoded once; 0 where each is looked at once anyway.
        """
        self._add(size_bytes)
        try:
            yield
        finally:
            self._add(-size_bytes)

    @property
    def size_bytes(self) -> int:
        """What GDAL is told."""
        return max(_LEAST_BYTES, self._needed_bytes)

    def _add(self, size_bytes: int) -> None:
        with self._lock:
            self._needed_bytes += size_bytes
            set_gdal_config("GDAL_CACHEMAX", self.size_bytes)


BLOCK_CACHE = BlockCache()
"""The process's cache of blocks."""
