"""Files and folders that appear whole or not at all, by a rename.

Content is written to `.<name>.<random>.partial` next to its target. The name identifies leftovers of a killed process.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earthsignature_assets.errors import StoreUnavailableError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file replaces `path` if the block succeeds, and is removed otherwise.

    Raises:
        StoreUnavailableError: the block or the rename raised an OSError: no room, no such folder, no permission.
    """
    partial = partial_path(path)
    with writing(path):
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreUnavailableError: the file cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_bytes(content)


@contextmanager
def whole_folder(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces `folder` if the block succeeds, and is removed otherwise.

    Args:
        folder: the target; parents are made as needed.
        replace: whether an existing target may be replaced; it stays as it is if the rename fails.

    Raises:
        StoreUnavailableError: the block or a rename raised an OSError, or the target exists and may not be replaced.
    """
    partial = partial_path(folder)
    with writing(folder):
        try:
            partial.mkdir(parents=True)
            yield partial
            if replace and folder.exists():
                _exchange(folder, partial)
            else:
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def partial_path(path: Path) -> Path:
    """Return a new hidden path next to a path, for unfinished content, or for content to be removed."""
    return path.with_name(f".{path.name.lstrip('.')}.{uuid.uuid4().hex}.partial")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise every OSError of the block as the error of a path that cannot be written, with its remedy.

    Raises:
        StoreUnavailableError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be written: {error.strerror or error}; check that the disk has room and that this user "
            "may write there"
        ) from error


def _exchange(folder: Path, partial: Path) -> None:
    old = partial_path(folder)
    folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        with suppress(OSError):  # another writer may have placed its folder meanwhile
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
