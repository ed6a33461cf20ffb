"""Downloads of files: kept next to their target until complete and verified, and resumed after interruptions."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from earthsignature_assets.errors import DownloadError, ServiceAnswerError
from earthsignature_grpc.messages.earthsignature.v3 import Asset, DownloadAssetResponse

_DIGEST = re.compile(r"[0-9a-zA-Z]+")
_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Progress:
    """Progress of a download: the file's name in the store, the bytes received, and its total size."""

    file_name: str
    received_bytes: int
    total_bytes: int


OnProgress: TypeAlias = Callable[[Progress], None]


class Download:
    """The download of one file, or of the rest of it.

    Received bytes go to `.<name>.<digest>.part` next to `path`. A later download of the same content resumes there;
    one of different content starts over. `path` itself appears whole or not at all.

    Raises:
        DownloadError: from every method, if the file cannot be written.
    """

    def __init__(self, path: Path, on_progress: OnProgress | None = None) -> None:
        self._path = path
        self._on_progress = on_progress
        self._asset: Asset | None = None
        self._file: BinaryIO | None = None
        self._checksum = hashlib.sha256()
        self.digest = ""
        """Digest of the content being received; empty until known."""
        self.offset = 0
        """Bytes received so far."""
        self.complete = False
        for part in self._parts():
            self.digest, self.offset = part.name.rpartition(".part")[0].rpartition(".")[2], part.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def restart(self) -> None:
        """Discard the received bytes, because the content was replaced."""
        self._close()
        for part in self._parts():
            part.unlink(missing_ok=True)
        self.digest, self.offset, self._asset, self._checksum = "", 0, None, hashlib.sha256()

    def take(self, content: bytes) -> None:
        """Store one `DownloadAssetResponse`; afterwards `complete` says whether the file is in place.

        Raises:
            ServiceAnswerError: the response does not continue the file, or the file does not match its checksum.
        """
        response = DownloadAssetResponse.parse(content)
        try:
            if response.asset is not None:
                self._begin(response.asset, response.digest)
            elif self._file is None or response.offset != self.offset:
                raise ServiceAnswerError(
                    f"{self._path.name}: the service sent offset {response.offset}; expected {self.offset}"
                )
            else:
                self._file.write(response.data)
                self._checksum.update(response.data)
                self.offset += len(response.data)
            if self._asset is not None and not self.complete:
                self._report(self._asset)
                if self.offset >= self._asset.size_bytes:
                    self._finish(self._asset)
        except OSError as error:
            raise DownloadError(
                f"{self._path} cannot be written: {error.strerror or error}; check that the disk has room"
            ) from error

    def _begin(self, asset: Asset, digest: str) -> None:
        # The digest comes over the wire and becomes part of a path.
        if not _DIGEST.fullmatch(digest):
            raise ServiceAnswerError(f"{self._path.name}: the service sent an invalid digest {digest!r}")
        self._close()
        self._asset = asset
        if self._is_there(asset):
            self.offset, self.complete = asset.size_bytes, True
            self._report(asset)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{digest}.part")
        if digest != self.digest:
            self.offset = 0
        self._file = part.open("r+b" if self.offset else "wb")
        self._file.seek(self.offset)
        self._file.truncate()
        self._checksum = _checksum(part) if self.offset else hashlib.sha256()
        self.digest = digest

    def _is_there(self, asset: Asset) -> bool:
        return (
            self._path.is_file()
            and self._path.stat().st_size == asset.size_bytes
            and _checksum(self._path).hexdigest() == asset.sha256
        )

    def _finish(self, asset: Asset) -> None:
        assert self._file is not None  # noqa: S101 - opened by the first response
        self._file.flush()
        os.fsync(self._file.fileno())
        part = Path(self._file.name)
        self._close()
        if self._checksum.hexdigest() != asset.sha256:
            part.unlink(missing_ok=True)
            raise ServiceAnswerError(
                f"{self._path.name}: the received file does not match its SHA-256; download it again"
            )
        part.replace(self._path)
        self.complete = True
        for older in self._parts():
            older.unlink(missing_ok=True)

    def _report(self, asset: Asset) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(asset.file_name, self.offset, asset.size_bytes))

    def _parts(self) -> list[Path]:
        name = re.compile(rf"\.{re.escape(self._path.name)}\.{_DIGEST.pattern}\.part")
        if not self._path.parent.is_dir():
            return []
        parts = [entry for entry in self._path.parent.iterdir() if name.fullmatch(entry.name) and entry.is_file()]
        return sorted(parts, key=lambda part: part.stat().st_mtime)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _checksum(path: Path) -> "hashlib._Hash":
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_AT_ONCE):
            checksum.update(piece)
    return checksum
