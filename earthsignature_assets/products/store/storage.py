"""What a product store needs of the place that keeps its files, wherever that is."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredFolder:
    """A folder of the storage, and when anything in it was last written (UTC)."""

    name: str
    written_at: dt.datetime


class Storage(ABC):
    """Files by relative POSIX names, in folders that appear whole.

    Raises:
        StoreUnavailableError: from every method, when the place cannot be reached, read or written.
    """

    name: str
    """Where it is, as messages say it."""

    @property
    @abstractmethod
    def staging_root(self) -> Path:
        """The local folder in which products are prepared."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read the bytes of a file.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    @abstractmethod
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Read some bytes of a file, fewer at its end, none past it.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of each file in a folder, by name; empty if there is no such folder."""

    @abstractmethod
    def place(self, staging: Path, folder: str, last: str) -> bool:
        """Make a local folder's files a folder of the storage; the one named `last` appears last.

        Returns:
            False if another publisher has placed the same folder first; theirs is kept.
        """

    @abstractmethod
    def replace(self, staging: Path, folder: str, last: str) -> None:
        """As `place`, over a folder that is there and damaged."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write one small file, whole or not at all, over one that is there."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove one file, if it is there."""

    @abstractmethod
    def folders(self, root: str, depth: int) -> Iterator[StoredFolder]:
        """List the folders that lie so many levels below another, with files in them, in order of name."""

    @abstractmethod
    def written_at(self, folder: str) -> dt.datetime | None:
        """When anything in a folder was last written, UTC; None if there is no such folder."""

    @abstractmethod
    def withdraw(self, folder: str) -> None:
        """Remove a folder: at once for whoever looks for it."""
