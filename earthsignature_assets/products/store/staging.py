"""Local folders in which products are prepared; the publisher removes its own, and what dead publishers left.

<root>/<name>/        the files
<root>/<name>.lock    held by the publisher while it lives; the system releases it when the process ends
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earthsignature_assets.system.locks import locked, locked_if_free

_LOCK = ".lock"


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Yield a new folder that is removed at the end unless it was renamed; remove what dead publishers left first.

    Raises:
        OSError: the folder cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    folder = root / uuid.uuid4().hex
    lock = folder.with_suffix(_LOCK)
    with locked(lock):
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                lock.unlink()


def remove_leftovers(root: Path) -> None:
    """Remove the staging folders whose publisher has died; those of running publishers stay."""
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            folder, lock = path.with_suffix(""), path.with_suffix(_LOCK)
            # A folder gets its lock before it is made: one without is being removed.
            if path == folder and lock.exists():
                continue
            with suppress(OSError), locked_if_free(lock) as abandoned:
                if abandoned:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.unlink()
