"""GDAL's cache of decoded blocks: one for each process, sized for the rasters that are open."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rasterio._env import set_gdal_config  # rasterio has no public call for a lasting option, see `BlockCache`

_LEAST_BYTES = 64 << 20


class BlockCache:
    """The size of GDAL's block cache; thread-safe. It must never be an option of `rasterio.Env`.

    GDAL's default is a twentieth of the machine's memory. An option of `rasterio.Env` applies to the whole process:
    other threads get it in the middle of a file, and leaving the environment restores the previous size, usually that
    twentieth. It also counts in bytes, whereas GDAL itself reads small numbers as megabytes: 64 means no cache
    (measured: rasterio 1.4.4, GDAL 3.10.3). With too small a cache each row of windows decodes a file's blocks again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed_bytes = 0

    @contextmanager
    def held(self, size_bytes: int = 0) -> Iterator[None]:
        """Enlarge the cache while the block runs; 64 MiB are always available.

        Args:
            size_bytes: additional size that lets each block be decoded once; 0 if each is read only once.
        """
        self._add(size_bytes)
        try:
            yield
        finally:
            self._add(-size_bytes)

    @property
    def size_bytes(self) -> int:
        """Size that GDAL gets."""
        return max(_LEAST_BYTES, self._needed_bytes)

    def _add(self, size_bytes: int) -> None:
        with self._lock:
            self._needed_bytes += size_bytes
            set_gdal_config("GDAL_CACHEMAX", self.size_bytes)


BLOCK_CACHE = BlockCache()
"""The block cache of this process."""
