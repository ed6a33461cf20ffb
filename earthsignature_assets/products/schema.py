"""The catalogue's tables in SQLite, and how an older file becomes a newer one."""

import sqlite3

from earthsignature_assets.errors import StoreUnavailableError

# Times are microseconds since 1970 UTC. The R*Tree holds 32-bit floats, rounded outward by SQLite, so it only
# preselects: its time axis is in days, where a float still tells minutes apart.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE product (
            key INTEGER PRIMARY KEY,
            product_id TEXT NOT NULL,
            model TEXT NOT NULL,
            scene TEXT NOT NULL,
            product_type TEXT NOT NULL,
            sensed_at INTEGER NOT NULL,
            published_at INTEGER NOT NULL,
            footprint BLOB NOT NULL,
            cloud_cover_percent REAL NOT NULL,
            class_mask INTEGER NOT NULL,
            folder TEXT NOT NULL,
            current INTEGER NOT NULL DEFAULT 0,
            UNIQUE (product_id, model)
        )
        """,
        "CREATE INDEX served_newest_first ON product (sensed_at DESC, product_id) WHERE current",
        "CREATE INDEX model_newest_first ON product (model, sensed_at DESC, product_id)",
        "CREATE VIRTUAL TABLE extent USING rtree (key, west, east, south, north, first_day, last_day)",
        """
        CREATE TABLE promotion (
            number INTEGER PRIMARY KEY,
            model TEXT NOT NULL,
            promoted_at INTEGER NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL
        )
        """,
    ),
)
SCHEMA_VERSION = len(_MIGRATIONS)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of an open catalogue; 0 for an empty file."""
    has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
    return int(connection.execute("SELECT version FROM schema_version").fetchone()[0]) if has_table else 0


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring a catalogue to `SCHEMA_VERSION`; the caller holds a write transaction.

    Raises:
        StoreUnavailableError: the catalogue is of a newer program.
    """
    version = schema_version(connection)
    check_not_newer(version, name)
    if version == 0:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (0)")
    for statements in _MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute("UPDATE schema_version SET version = ?", (SCHEMA_VERSION,))


def check_not_newer(version: int, name: str) -> None:
    """Refuse a catalogue that a newer program has migrated.

    Raises:
        StoreUnavailableError: its version is above `SCHEMA_VERSION`.
    """
    if version > SCHEMA_VERSION:
        raise StoreUnavailableError(
            f"catalogue {name} has schema {version}, this program knows {SCHEMA_VERSION}: upgrade EarthSignature"
        )
