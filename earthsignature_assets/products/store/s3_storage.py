"""A storage on S3 or a service with its protocol.

Objects appear one by one, so a folder exists once its last file does; the row in the catalogue, written after a check
of the whole folder, makes a product visible.
"""

import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from typing_extensions import override

from earthsignature_assets.errors import InvalidKeyError, StoreUnavailableError
from earthsignature_assets.products.store.storage import Storage, StoredFolder
from earthsignature_assets.system.atomic import writing

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# These apply to every request. 5xx, 429, and failed or broken connections are retried, for conditional puts too: there
# "already exists" may then mean that the first attempt succeeded, so the caller checks the object.
_CLIENT: "ClientConfig" = {"connect_timeout": "5s", "timeout": "120s"}
_RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": dt.timedelta(minutes=3),
    "backoff": {"init_backoff": dt.timedelta(milliseconds=200), "max_backoff": dt.timedelta(seconds=10), "base": 2},
}


class S3Storage(Storage):
    """A storage under `s3://bucket/prefix`.

    Endpoint, region and credentials come from the standard variables (AWS_ENDPOINT_URL, AWS_REGION,
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), or from the machine's role.
    """

    def __init__(self, url: str) -> None:
        """Refer to a bucket and prefix without a request.

        Raises:
            InvalidKeyError: the URL has no bucket, or more than a bucket and a prefix.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise InvalidKeyError(f"{url!r} is not a place on S3: give s3://bucket or s3://bucket/prefix")
        self.name = url.rstrip("/")
        try:
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={**_CLIENT, "allow_http": True},  # an http endpoint is the operator's own choice
                retry_config=_RETRIES,
            )
        except BaseError as error:
            raise InvalidKeyError(f"{self.name} cannot be used: {_brief(error)}") from error

    @property
    @override
    def staging_root(self) -> Path:
        root = Path(tempfile.gettempdir()) / f"earthsignature-staging-{os.getuid()}"
        with writing(root):
            root.mkdir(mode=0o700, exist_ok=True)
            if root.is_symlink() or root.stat().st_uid != os.getuid():
                raise StoreUnavailableError(f"{root} belongs to another user: set TMPDIR to your own folder")
        return root

    @override
    def read(self, name: str) -> bytes:
        with self._faults():
            return obstore.get(self._store, name).bytes().to_bytes()

    @override
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with self._faults():
            size = obstore.head(self._store, name)["size"]
            end = min(offset + length, size)
            if offset >= end:
                return b""
            return obstore.get_range(self._store, name, start=offset, end=end).to_bytes()

    @override
    def sizes(self, folder: str) -> dict[str, int]:
        with self._faults():
            found = obstore.list_with_delimiter(self._store, f"{folder}/")["objects"]
        return {str(entry["path"]).rpartition("/")[2]: int(entry["size"]) for entry in found}

    @override
    def place(self, staging: Path, folder: str, last: str) -> bool:
        return self._put(staging, folder, last, over=False)

    @override
    def replace(self, staging: Path, folder: str, last: str) -> None:
        self._put(staging, folder, last, over=True)

    @override
    def write(self, name: str, content: bytes) -> None:
        with self._faults():
            obstore.put(self._store, name, content, use_multipart=False)

    @override
    def remove(self, name: str) -> None:
        with self._faults():
            obstore.delete(self._store, [name])

    @override
    def folders(self, root: str, depth: int) -> Iterator[StoredFolder]:
        levels = root.count("/") + 1 + depth
        for folder, entries in groupby(self._objects(root), lambda entry: "/".join(entry[0].split("/")[:levels])):
            written = [written_at for name, written_at in entries if name.count("/") >= levels]
            if written:
                yield StoredFolder(folder, max(written))

    @override
    def written_at(self, folder: str) -> dt.datetime | None:
        return max((written_at for _, written_at in self._objects(folder)), default=None)

    @override
    def withdraw(self, folder: str) -> None:
        names = [name for name, _ in self._objects(folder)]
        with self._faults():
            if names:
                obstore.delete(self._store, names)

    def _objects(self, folder: str) -> Iterator[tuple[str, dt.datetime]]:
        with self._faults():
            for page in obstore.list(self._store, f"{folder}/", chunk_size=1000):
                for entry in page:
                    yield entry["path"], entry["last_modified"]

    def _put(self, staging: Path, folder: str, last: str, *, over: bool) -> bool:
        for path in sorted(staging.iterdir(), key=lambda path: (path.name == last, path.name)):
            mode: Literal["create", "overwrite"] = "create" if path.name == last and not over else "overwrite"
            with self._faults():
                try:
                    # In one request, so that a publisher that dies leaves no partial object.
                    obstore.put(self._store, f"{folder}/{path.name}", path, mode=mode, use_multipart=False)
                except AlreadyExistsError:
                    return False
        return True

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StoreUnavailableError(f"{self.name}: the bucket does not exist; create it") from error
            raise FileNotFoundError(_brief(error)) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreUnavailableError(
                f"{self.name} refuses: {_brief(error)}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and this user's "
                "permissions in the bucket"
            ) from error
        except (BaseError, OSError) as error:
            raise StoreUnavailableError(
                f"{self.name} does not respond as expected: {_brief(error)}; check AWS_ENDPOINT_URL, the network and "
                "the server"
            ) from error


def _brief(error: Exception) -> str:
    """Return an error's first line; the rest is the client's internal state."""
    return str(error).partition("\n")[0][:500]
