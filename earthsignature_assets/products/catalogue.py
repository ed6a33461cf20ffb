"""The catalogue of published products: it answers where, when, what and of which model.

One SQLite file in WAL mode: many processes read while one writes. A row is the moment at which readers see a
product; the files are the store's business.
"""

import datetime as dt
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.nomenclature import class_mask, codes_of_mask
from earthsignature_assets.products.product import Product
from earthsignature_assets.products.schema import SCHEMA_VERSION, check_not_newer, migrate, schema_version

_BUSY_TIMEOUT_S = 30.0  # promoting a model rewrites its rows: 10 s at 400,000 products
_PAUSE_S = 0.01
_ROWS_AT_ONCE = 256
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MICROSECONDS_A_DAY = 86_400_000_000
_COLUMNS = (
    "product_id, model, scene, product_type, sensed_at, published_at, footprint, cloud_cover_percent, "
    "class_mask, folder, current"
)
_FOOTPRINT = 7  # its place in a row of key and columns


@dataclass(frozen=True)
class ProductQuery:
    """Which products to find; what is left out does not restrict.

    Attributes:
        area: any geometry in EPSG:4326; products whose footprint intersects it. An empty one matches nothing.
        start: earliest acquisition, inclusive, with a time zone.
        end: latest acquisition, inclusive, with a time zone.
        product_ids: Sentinel-2 product names; unknown ones match nothing.
        class_codes: CORINE level-3 codes; products that contain any of them. Empty does not restrict.
        model: the version to read; None takes the current one of each product.
        limit: at most this many.

    Raises:
        QueryError: `start` is after `end`, a time lacks its zone, or `limit` is negative.
        UnknownClassError: a code is none of the 44.
    """

    area: BaseGeometry | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    product_ids: frozenset[str] | None = None
    class_codes: frozenset[int] = frozenset()
    model: ModelVersion | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for field, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment.tzinfo is None:
                raise QueryError(field, f"{moment} has no time zone; give UTC")
        if self.start is not None and self.end is not None and self.start > self.end:
            raise QueryError("start", f"{self.start} is after the end {self.end}; swap them")
        if self.limit is not None and self.limit < 0:
            raise QueryError("limit", f"{self.limit} is negative; give 0 or more, or leave it out")
        class_mask(self.class_codes)


@dataclass(frozen=True)
class Promotion:
    """One decision to serve a model version: which, when (UTC), whose, why."""

    model: ModelVersion
    promoted_at: dt.datetime
    who: str
    why: str


class Catalogue:
    """The products that readers see.

    Threads share one object: each gets its own connection. Among the model versions of one product, the one
    promoted most recently is current; the first version that is ever recorded is promoted with it.

    Raises:
        StoreUnavailableError: from every method, when the file cannot be opened, read or written, is locked for
            longer than 30 s, or has the schema of a newer program.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of every thread; nothing may use the catalogue any more."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def search(self, query: ProductQuery) -> Iterator[Product]:
        """Products that match, newest acquisition first, then by product name.

        The matching rows are chosen at the first step, then read in portions, so a slow consumer holds no
        transaction open. The iterator may move between threads.
        """
        keys = self._matching_keys(query)
        area = query.area
        if area is not None:
            shapely.prepare(area)
        found = 0
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            for product in self._products(keys[first : first + _ROWS_AT_ONCE]):
                if area is not None and not area.intersects(product.footprint):
                    continue
                if found == query.limit:
                    return
                found += 1
                yield product

    def find(self, product_id: str, model: ModelVersion | None = None) -> Product | None:
        """The product of that Sentinel-2 name: the current model's, or that of `model`; None if there is none."""
        query = ProductQuery(product_ids=frozenset({product_id}), model=model, limit=1)
        return next(self.search(query), None)

    def count(self, model: ModelVersion | None = None) -> int:
        """How many products are served without a choice of model, or how many `model` has."""
        where, values = ("current", ()) if model is None else ("model = ?", (str(model),))
        with self._reading() as connection:
            row = connection.execute(f"SELECT count(*) FROM product WHERE {where}", values).fetchone()  # noqa: S608
        return int(row[0])

    def folders(self) -> frozenset[str]:
        """The folder of every product, current or not: what the store must keep."""
        with self._reading() as connection:
            return frozenset(row[0] for row in connection.execute("SELECT folder FROM product"))

    def all_products(self) -> Iterator[Product]:
        """Every product of every model version, current or not, oldest row first."""
        with self._reading() as connection:
            keys = [row[0] for row in connection.execute("SELECT key FROM product ORDER BY key")]
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            yield from self._products(keys[first : first + _ROWS_AT_ONCE])

    def record(self, product: Product) -> None:
        """Show a product to readers, in place of an earlier one of the same name and model; all or nothing."""
        west, south, east, north = product.footprint.bounds
        sensed_at = _microseconds(product.sensed_at)
        day = sensed_at / _MICROSECONDS_A_DAY
        with self.transaction() as connection:
            key = connection.execute(
                f"""
                INSERT INTO product ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
                ON CONFLICT (product_id, model) DO UPDATE SET
                    scene = excluded.scene, product_type = excluded.product_type, sensed_at = excluded.sensed_at,
                    published_at = excluded.published_at, footprint = excluded.footprint,
                    cloud_cover_percent = excluded.cloud_cover_percent, class_mask = excluded.class_mask,
                    folder = excluded.folder
                RETURNING key
                """,  # noqa: S608 - the columns are a constant
                (
                    product.product_id,
                    str(product.model),
                    str(product.scene),
                    product.product_type,
                    sensed_at,
                    _microseconds(product.published_at),
                    shapely.to_wkb(product.footprint),
                    product.cloud_cover_percent,
                    class_mask(product.class_codes),
                    product.folder,
                ),
            ).fetchone()[0]
            connection.execute(
                "INSERT OR REPLACE INTO extent VALUES (?, ?, ?, ?, ?, ?, ?)", (key, west, east, south, north, day, day)
            )
            if not connection.execute("SELECT 1 FROM promotion LIMIT 1").fetchone():
                self._promote(connection, product.model, "catalogue", "the first model version that was published")
            connection.execute(
                """
                UPDATE product SET current = coalesce(model = (
                    SELECT version.model FROM product AS version JOIN promotion ON promotion.model = version.model
                    WHERE version.product_id = product.product_id ORDER BY promotion.number DESC LIMIT 1
                ), 0) WHERE product_id = ?
                """,
                (product.product_id,),
            )

    def promote(self, model: ModelVersion, who: str, why: str = "") -> None:
        """Serve `model` from now on for every product that it has, and for those it will have."""
        with self.transaction() as connection:
            self._promote(connection, model, who, why)

    def promotions(self) -> list[Promotion]:
        """Every promotion, the latest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT model, promoted_at, who, why FROM promotion ORDER BY number DESC"
            ).fetchall()
        return [Promotion(ModelVersion.parse(model), _moment(at), who, why) for model, at, who, why in rows]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the one write lock: other writers wait, readers do not; inside another it is part of that one."""
        with self._reading() as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _matching_keys(self, query: ProductQuery) -> list[int]:
        source, conditions, values = "product", list[str](), list[Any]()
        start = None if query.start is None else _microseconds(query.start)
        end = None if query.end is None else _microseconds(query.end)
        if query.area is not None:
            if query.area.is_empty:
                return []
            # CROSS JOIN keeps SQLite's planner to this order: the R*Tree first.
            source = "extent CROSS JOIN product ON product.key = extent.key"
            west, south, east, north = query.area.bounds
            conditions += ["west <= ?", "east >= ?", "south <= ?", "north >= ?"]
            values += [east, west, north, south]
            if start is not None:
                conditions.append("last_day >= ?")
                values.append(start / _MICROSECONDS_A_DAY)
            if end is not None:
                conditions.append("first_day <= ?")
                values.append(end / _MICROSECONDS_A_DAY)
        if query.model is None:
            conditions.append("current")
        else:
            conditions.append("model = ?")
            values.append(str(query.model))
        if start is not None:
            conditions.append("sensed_at >= ?")
            values.append(start)
        if end is not None:
            conditions.append("sensed_at <= ?")
            values.append(end)
        if query.product_ids is not None:
            conditions.append("product_id IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(sorted(query.product_ids)))
        if query.class_codes:
            conditions.append("class_mask & ?")
            values.append(class_mask(query.class_codes))
        text = f"SELECT product.key FROM {source} WHERE {' AND '.join(conditions)} ORDER BY sensed_at DESC, product_id"  # noqa: S608
        if query.limit is not None and query.area is None:
            text += " LIMIT ?"
            values.append(query.limit)
        with self._reading() as connection:
            return [row[0] for row in connection.execute(text, values)]

    def _products(self, keys: list[int]) -> list[Product]:
        """Read rows by key, in that order; a row deleted meanwhile is left out."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT key, {_COLUMNS} FROM product WHERE key IN (SELECT value FROM json_each(?))",  # noqa: S608
                (json.dumps(keys),),
            ).fetchall()
        footprints = shapely.from_wkb([row[_FOOTPRINT] for row in rows])
        found = {row[0]: _product(row[1:], footprint) for row, footprint in zip(rows, footprints, strict=True)}
        return [found[key] for key in keys if key in found]

    def _promote(self, connection: sqlite3.Connection, model: ModelVersion, who: str, why: str) -> None:
        connection.execute(
            "INSERT INTO promotion (model, promoted_at, who, why) VALUES (?, ?, ?, ?)",
            (str(model), _microseconds(dt.datetime.now(dt.UTC)), who, why),
        )
        connection.execute(
            """
            UPDATE product SET current = (model = ?1)
            WHERE product_id IN (SELECT product_id FROM product WHERE model = ?1) AND current <> (model = ?1)
            """,
            (str(model),),
        )

    def _prepare(self) -> None:
        if not self.read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailableError(f"the folder of catalogue {self.path} cannot be made: {error}") from error
            with self._reading() as connection:
                version = schema_version(connection)
                check_not_newer(version, str(self.path))
                if version < SCHEMA_VERSION:
                    _switch_to_wal(connection)
                    with self.transaction():
                        migrate(connection, str(self.path))
            return
        with self._reading() as connection:
            version = schema_version(connection)
            check_not_newer(version, str(self.path))
            if version < SCHEMA_VERSION:
                raise StoreUnavailableError(
                    f"catalogue {self.path} has schema {version}, expected {SCHEMA_VERSION}: "
                    "open it once for writing (any publication does) to bring it up to date"
                )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            mode = "ro" if self.read_only else "rwc"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,  # `close` closes those of other threads
            )
            with self._guard:
                self._connections.append(connection)
            self._local.connection = connection
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection()
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                f"catalogue {self.path}: {error}; {_remedy(error, self.read_only and not self.path.exists())}"
            ) from error


def _remedy(error: sqlite3.Error, absent: bool) -> str:
    if absent:
        return "it does not exist: check the store's location, or publish a first product"
    if "locked" in str(error) or "busy" in str(error):
        return "another program holds its write lock: try again"
    if isinstance(error, sqlite3.OperationalError):
        return "check that the disk has room and that this user may read and write there"
    return "the file is damaged or no catalogue: restore it, or rebuild it from the store"


def _product(row: tuple[Any, ...], footprint: BaseGeometry) -> Product:
    product_id, model, scene, product_type, sensed_at, published_at, _, cloud_cover, mask, folder, current = row
    return Product(
        product_id=product_id,
        scene=SceneKey.parse(scene),
        model=ModelVersion.parse(model),
        product_type=product_type,
        sensed_at=_moment(sensed_at),
        published_at=_moment(published_at),
        footprint=footprint,
        cloud_cover_percent=cloud_cover,
        class_codes=codes_of_mask(mask),
        folder=folder,
        current=bool(current),
    )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; SQLite does not heed the busy timeout here, and several may make a catalogue at once."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _microseconds(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)
