"""Where a store's parts are: from a path or a URL to what opens there."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.products.catalogue import Catalogue
from earthsignature_assets.products.sqlite_catalogue import SqliteCatalogue

_POSTGRES = ("postgresql", "postgres")


def open_catalogue(location: Path | str, *, read_only: bool = False) -> Catalogue:
    """Open a catalogue: a SQLite file by its path or `sqlite:///path`, PostGIS by `postgresql://…`.

    Raises:
        InvalidKeyError: the location is of another kind.
        StoreUnavailableError: it cannot be opened, or is absent and to be read only.
    """
    scheme = urlsplit(location).scheme if isinstance(location, str) else ""
    if scheme in _POSTGRES:
        # psycopg takes a quarter of a second to import, which those who read SQLite need not wait for.
        from earthsignature_assets.products.postgis_catalogue import PostgisCatalogue

        return PostgisCatalogue(str(location), read_only=read_only)
    return SqliteCatalogue(_local_path(location, "sqlite", "a catalogue"), read_only=read_only)


def _local_path(location: Path | str, scheme: str, what: str) -> Path:
    if isinstance(location, Path):
        return location
    parts = urlsplit(location)
    if not parts.scheme:
        return Path(location).expanduser()
    if parts.scheme != scheme or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        known = f"a path, {scheme}:///absolute/path" + (" or postgresql://…" if scheme == "sqlite" else " or s3://…")
        raise InvalidKeyError(f"{location!r} is no address of {what}: give {known}")
    return Path(unquote(parts.path))
