"""A storage in a local folder; a product's folder appears by one rename."""

import datetime as dt
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from typing_extensions import override

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.products.store.storage import Storage, StoredFolder
from earthsignature_assets.system.atomic import whole_file, writing


class FolderStorage(Storage):
    """A storage in a local or mounted folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    @property
    @override
    def staging_root(self) -> Path:
        return self.root / ".staging"

    def path(self, name: str) -> Path:
        """Return the path of a file or folder.

        Raises:
            ProductError: the name points outside the storage.
        """
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ProductError(f"{name!r} is not inside the store {self.root}")
        path = self.root / relative
        # A folder of the root may itself be a link, for example to a larger disk; nothing in it may point outside.
        if not path.resolve().is_relative_to((self.root / relative.parts[0]).resolve()):
            raise ProductError(f"{name!r} is not inside the store {self.root}")
        return path

    @override
    def read(self, name: str) -> bytes:
        path = self.path(name)
        with self._reading(path):
            return path.read_bytes()

    @override
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        path = self.path(name)
        with self._reading(path), path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    @override
    def sizes(self, folder: str) -> dict[str, int]:
        path = self.path(folder)
        try:
            return {entry.name: entry.stat().st_size for entry in path.iterdir() if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise StoreUnavailableError(f"{path} cannot be read: {error}") from error

    @override
    def place(self, staging: Path, folder: str, last: str) -> bool:
        target = self.path(folder)
        with writing(target):
            for path in [*sorted(staging.iterdir()), staging]:
                _synchronise(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() and not (target / last).exists():
                self.withdraw(folder)  # folders appear whole: one without its last file is damaged
            try:
                staging.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return False
            while target != self.root:
                target = target.parent
                _synchronise(target)
            return True

    @override
    def replace(self, staging: Path, folder: str, last: str) -> None:
        self.withdraw(folder)
        self.place(staging, folder, last)

    @override
    def write(self, name: str, content: bytes) -> None:
        path = self.path(name)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(content)
                _synchronise(partial)
            _synchronise(path.parent)

    @override
    def remove(self, name: str) -> None:
        path = self.path(name)
        with writing(path):
            path.unlink(missing_ok=True)

    @override
    def folders(self, root: str, depth: int) -> Iterator[StoredFolder]:
        for path in sorted(self.path(root).glob("/".join("*" * depth))):
            name = path.relative_to(self.root).as_posix()
            written_at = self.written_at(name)
            if written_at is not None:
                yield StoredFolder(name, written_at)

    @override
    def written_at(self, folder: str) -> dt.datetime | None:
        # Adding or removing a file changes its folder's time; files are never written in place.
        try:
            return dt.datetime.fromtimestamp(self.path(folder).stat().st_mtime, dt.UTC)
        except OSError:
            return None

    @override
    def withdraw(self, folder: str) -> None:
        path = self.path(folder)
        aside = self.staging_root / uuid.uuid4().hex
        with writing(path):
            self.staging_root.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self.root.is_dir():
                raise StoreUnavailableError(f"product store {self.root} does not exist: mount or create it") from error
            raise
        except OSError as error:
            raise StoreUnavailableError(f"{path} cannot be read: {error}") from error


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
