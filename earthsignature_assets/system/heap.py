"""Freed memory in the C heap: glibc keeps it for the threads that freed it, after large steps a lot."""

import ctypes
import os
import sys

_M_ARENA_MAX = -8  # malloc.h


def return_free_memory() -> None:
    """Return the free pages of the C heap and of Arrow's pool to the system.

    glibc keeps the memory that the threads of a step have freed for those threads, so the next step allocates fresh
    memory: up to 300 MB for the rasters and polygons of a tile. Without glibc only Arrow's pool is emptied.
    """
    if arrow := sys.modules.get("pyarrow"):  # not imported: there is nothing to return
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def share_heap_between_threads() -> None:
    """Limit the arenas of the C heap for later threads: one for each processor, at least two.

    By default glibc makes eight arenas even on the smallest machine, and each keeps its freed memory: 40 to 70 MB more
    when a scene is read over the network. Sharing costs no processor time (measured on two processors). Without glibc
    this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))
