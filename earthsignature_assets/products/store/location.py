"""Locations of storages and catalogues: open them by path or URL."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.catalogue.sqlite_catalogue import SqliteCatalogue
from earthsignature_assets.products.store.folder_storage import FolderStorage
from earthsignature_assets.products.store.storage import Storage

_POSTGRES = ("postgresql", "postgres")


def open_catalogue(location: Path | str, *, read_only: bool = False) -> Catalogue:
    """Open a catalogue: a SQLite file by its path or `sqlite:///path`, PostGIS by `postgresql://…`.

    Raises:
        InvalidKeyError: the location is of another kind.
        StoreUnavailableError: it cannot be opened, or is absent while only to be read.
    """
    if _is_postgres(location):
        # psycopg takes a quarter of a second to import, and SQLite does not need it.
        from earthsignature_assets.products.catalogue.postgis_catalogue import PostgisCatalogue

        return PostgisCatalogue(str(location), read_only=read_only)
    return SqliteCatalogue(_local_path(location, "sqlite", "a catalogue"), read_only=read_only)


def open_storage(location: Path | str) -> Storage:
    """Open the storage at a location: a folder by its path or `file:///path`, S3 by `s3://bucket/prefix`.

    Raises:
        InvalidKeyError: the location is of another kind.
    """
    if isinstance(location, str) and urlsplit(location).scheme == "s3":
        # Import the client only if it is used.
        from earthsignature_assets.products.store.s3_storage import S3Storage

        return S3Storage(location)
    return FolderStorage(_local_path(location, "file", "a product store"))


def catalogue_location(storage: Storage, catalogue: Path | str) -> Path | str:
    """Return the location of a store's catalogue, given or by default: a file, or the URL of a database.

    Raises:
        InvalidKeyError: the store is on S3 and no catalogue is given, or the location is of another kind.
    """
    if catalogue:
        return catalogue if _is_postgres(catalogue) else _local_path(catalogue, "sqlite", "a catalogue")
    if isinstance(storage, FolderStorage):
        return storage.root / "catalogue.sqlite"
    raise InvalidKeyError(
        f"the store {storage.name} needs a catalogue elsewhere: set EARTHSIGNATURE_CATALOGUE to postgresql://… for "
        "several machines, or to the path of a SQLite file for one"
    )


def _is_postgres(location: Path | str) -> bool:
    return isinstance(location, str) and urlsplit(location).scheme in _POSTGRES


def _local_path(location: Path | str, scheme: str, what: str) -> Path:
    if isinstance(location, Path):
        return location
    parts = urlsplit(location)
    if not parts.scheme:
        return Path(location).expanduser()
    if parts.scheme != scheme or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        known = f"a path, {scheme}:///absolute/path" + (" or postgresql://…" if scheme == "sqlite" else " or s3://…")
        raise InvalidKeyError(f"{location!r} is not an address of {what}: give {known}")
    return Path(unquote(parts.path))
