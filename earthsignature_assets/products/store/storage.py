"""The interface of storages, which keep a product store's files."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredFolder:
    """A folder of the storage, and the time of its last write (UTC)."""

    name: str
    written_at: dt.datetime


class Storage(ABC):
    """Files by relative POSIX names, in folders that appear whole.

    Raises:
        StoreUnavailableError: from every method, if the storage cannot be reached, read or written.
    """

    name: str
    """Location of the storage, for messages."""

    @property
    @abstractmethod
    def staging_root(self) -> Path:
        """Local folder in which products are prepared."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read the bytes of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """

    @abstractmethod
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Read a range of a file, which may end early at the end of the file.

        Raises:
            FileNotFoundError: there is no such file.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of each file in a folder, by name; empty if there is no such folder."""

    @abstractmethod
    def place(self, staging: Path, folder: str, last: str) -> bool:
        """Move a local folder into the storage; the file named `last` appears last.

        Returns:
            False if another publisher has placed the same folder first, which is kept.
        """

    @abstractmethod
    def replace(self, staging: Path, folder: str, last: str) -> None:
        """Move a local folder into the storage like `place`, but replace a damaged one."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write one small file whole or not at all; an existing one is replaced."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove one file if it exists."""

    @abstractmethod
    def folders(self, root: str, depth: int) -> Iterator[StoredFolder]:
        """List the folders `depth` levels below another that have files, ordered by name."""

    @abstractmethod
    def written_at(self, folder: str) -> dt.datetime | None:
        """Return the time of a folder's last write, UTC; None if there is no such folder."""

    @abstractmethod
    def withdraw(self, folder: str) -> None:
        """Remove a folder, which disappears at once."""
