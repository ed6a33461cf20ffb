"""Give memory that is free back to the system: a process that has finished a large step keeps it otherwise."""

import ctypes
import sys

import pyarrow as pa


def return_free_memory() -> None:
    """Hand the free pages of the C heap and of Arrow's pool back.

    glibc keeps what the threads of a step have freed for those threads, so the next step asks for fresh memory: up to
    300 MB for the rasters and polygons of a tile. Elsewhere than on Linux with glibc only Arrow's pool is emptied.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
