"""File locks across processes, and across machines that share the folder.

The system releases a lock when its process ends, however it ends. The lock file stays unless its holder removes it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file while the block runs; wait for it as long as it takes.

    Raises:
        OSError: the file cannot be opened or created; its folder must exist.
    """
    descriptor = _acquire(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of a file while the block runs, unless somebody else holds it; yield whether it is held.

    Raises:
        OSError: the file cannot be opened or created; its folder must exist.
    """
    try:
        descriptor = _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _acquire(path: Path, operation: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, operation)
            # A holder may have removed the file between the two calls: that lock no longer excludes anybody.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
