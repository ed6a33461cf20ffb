"""Files that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earthsignature_assets.errors import StoreUnavailableError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` if the block ends well, else it is gone.

    Raises:
        StoreUnavailableError: the block or the renaming raised an OSError: no room, no such folder, no permission.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be written: {error.strerror or error}; check that the disk has room and that this user "
            "may write there"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreUnavailableError: it cannot be written.
    """
    with whole_file(path) as part:
        part.write_bytes(content)
