"""The catalogue's tables, and the migrations between their versions."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import BASELINE

Migrations: TypeAlias = Sequence[Sequence[str]]

# Times are microseconds since 1970 UTC. The R*Tree holds 32-bit floats, rounded outward by SQLite, so it only
# preselects: its time axis is in days, in which a float still resolves minutes.
SQLITE_MIGRATIONS: Migrations = (
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
    # `best` marks the products of a scene by a model version that are not superseded. The model version to serve
    # follows from `serving` at query time, so that a promotion rewrites no product.
    (
        "DROP INDEX served_newest_first",
        "DROP INDEX model_newest_first",
        "ALTER TABLE product DROP COLUMN current",
        "ALTER TABLE product ADD COLUMN best INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE product ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX of_scene ON product (scene, model)",
        f"""
        UPDATE product SET change = key, best = {BASELINE} = (
            SELECT max(substr(other.product_id, 29, 4)) FROM product AS other
            WHERE other.scene = product.scene AND other.model = product.model
        )
        """,  # noqa: S608 - the baseline's place is a constant
        "CREATE INDEX newest_first ON product (sensed_at DESC, product_id) WHERE best",
        "CREATE INDEX model_newest_first ON product (model, sensed_at DESC, product_id) WHERE best",
        "CREATE UNIQUE INDEX in_order_of_change ON product (change)",
        "CREATE TABLE latest_change (number INTEGER NOT NULL)",
        "INSERT INTO latest_change SELECT coalesce(max(change), 0) FROM product",
        "CREATE TABLE serving (model TEXT PRIMARY KEY, rank INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO serving SELECT model, max(number) FROM promotion GROUP BY model",
    ),
)

# In the first schema of the search path. Names sort by their bytes, as in SQLite.
POSTGIS_MIGRATIONS: Migrations = (
    (
        "CREATE EXTENSION IF NOT EXISTS postgis",
        "CREATE EXTENSION IF NOT EXISTS btree_gist",
        """
        CREATE TABLE product (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            product_id text COLLATE "C" NOT NULL,
            model text COLLATE "C" NOT NULL,
            scene text COLLATE "C" NOT NULL,
            product_type text NOT NULL,
            sensed_at timestamptz NOT NULL,
            published_at timestamptz NOT NULL,
            footprint geometry(Geometry, 4326) NOT NULL,
            cloud_cover_percent double precision NOT NULL,
            class_mask bigint NOT NULL,
            folder text NOT NULL,
            best boolean NOT NULL DEFAULT false,
            change bigint NOT NULL,
            UNIQUE (product_id, model)
        )
        """,
        "CREATE INDEX newest_first ON product (sensed_at DESC, product_id) WHERE best",
        "CREATE INDEX model_newest_first ON product (model, sensed_at DESC, product_id) WHERE best",
        "CREATE INDEX of_scene ON product (scene, model)",
        "CREATE UNIQUE INDEX in_order_of_change ON product (change)",
        "CREATE INDEX extent ON product USING gist (footprint, sensed_at)",
        "CREATE TABLE latest_change (number bigint NOT NULL)",
        "INSERT INTO latest_change VALUES (0)",
        """
        CREATE TABLE promotion (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text COLLATE "C" NOT NULL,
            promoted_at timestamptz NOT NULL,
            who text NOT NULL,
            why text NOT NULL
        )
        """,
        'CREATE TABLE serving (model text COLLATE "C" PRIMARY KEY, rank bigint NOT NULL)',
    ),
)


def migrate(execute: Callable[[str, dict[str, Any]], object], version: int, migrations: Migrations, name: str) -> None:
    """Migrate a catalogue of some version (0: empty) to the newest; the caller holds a write transaction.

    Raises:
        StoreUnavailableError: the catalogue is of a newer program.
    """
    check_not_newer(version, migrations, name)
    if version == 0:
        execute("CREATE TABLE schema_version (version INTEGER NOT NULL)", {})
        execute("INSERT INTO schema_version VALUES (0)", {})
    for statements in migrations[version:]:
        for statement in statements:
            execute(statement, {})
    execute("UPDATE schema_version SET version = :version", {"version": len(migrations)})


def check_not_newer(version: int, migrations: Migrations, name: str) -> None:
    """Refuse a catalogue that a newer program has migrated.

    Raises:
        StoreUnavailableError: its version is newer than this program's.
    """
    if version > len(migrations):
        raise StoreUnavailableError(
            f"catalogue {name} has schema {version}, this program knows {len(migrations)}: upgrade EarthSignature"
        )
