"""Local folders in which products are prepared: they go with the process that made them, or at the next one's start.

<root>/<name>/        the files
<root>/<name>.lock    held by the publisher for as long as it lives; the system releases it when it dies
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".lock"


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Make a folder that is removed at the end, unless it was renamed; what dead publishers left is removed first.

    Raises:
        OSError: the folder cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    folder = root / uuid.uuid4().hex
    lock = folder.with_suffix(_LOCK)
    descriptor = _locked(lock)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def remove_leftovers(root: Path) -> None:
    """Remove staging folders whose publisher lives no more; those of the living stay."""
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            folder, lock = path.with_suffix(""), path.with_suffix(_LOCK)
            # A folder gets its lock before it is made: one without is on its way out.
            if path == lock and not _abandoned(lock):
                continue
            if path == folder and lock.exists():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                lock.unlink()


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Who sweeps between the two lines above takes the lock for abandoned and removes its file.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _abandoned(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
