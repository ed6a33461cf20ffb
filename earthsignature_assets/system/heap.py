"""What the C heap keeps of freed memory: much after large steps, for glibc holds it for the threads that freed it."""

import ctypes
import os
import sys

_M_ARENA_MAX = -8  # malloc.h


def return_free_memory() -> None:
    """Hand the free pages of the C heap and of Arrow's pool back.

    glibc keeps what the threads of a step have freed for those threads, so the next step asks for fresh memory: up to
    300 MB for the rasters and polygons of a tile. Elsewhere than on Linux with glibc only Arrow's pool is emptied.
    """
    if arrow := sys.modules.get("pyarrow"):  # where nobody uses it, there is nothing to hand back
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def share_heap_between_threads() -> None:
    """Let threads that come later share as many parts of the C heap as can work at once: one a processor, at least two.

    By default glibc gives eight threads a part each on the smallest machine, and each keeps what it has freed: 40 to
    70 MB more where a scene is read over the network. Sharing costs no processor time (measured on two processors).
    Elsewhere than on Linux with glibc nothing is done.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))
