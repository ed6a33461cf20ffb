"""The catalogue in one SQLite file: an R*Tree for places and times, WAL so that many read while one writes."""

import datetime as dt
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import BUSY_TIMEOUT_S, Catalogue
from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_assets.products.catalogue.schema import SQLITE_MIGRATIONS, check_not_newer, migrate
from earthsignature_assets.products.product import Product

_PAUSE_S = 0.01
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MICROSECONDS_A_DAY = 86_400_000_000


class SqliteCatalogue(Catalogue):
    """A catalogue in a file, created if absent unless it is opened read-only."""

    _first_then = "CROSS JOIN"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__()
        self.path = path
        self.read_only = read_only
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections of every thread; the catalogue cannot be used afterwards."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _rows(self, text: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._faults():
            return self._connection().execute(text, values or {}).fetchall()

    def _begin(self) -> None:
        self._rows("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        """Commit, and checkpoint the rows into the main file as far as readers allow.

        Otherwise, if a home is copied while a reader keeps the catalogue open, its rows would be in the write-ahead log
        only, and lost if the log is not copied, or is copied after it was reset.
        """
        self._rows("COMMIT")
        with suppress(sqlite3.Error):  # the rows are safe in the log anyway
            self._connection().execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _roll_back(self) -> None:
        connection = self._connection()
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _in_box(self, query: ProductQuery) -> tuple[str, list[str], dict[str, Any]]:
        assert query.area is not None  # noqa: S101 - the caller has looked
        west, south, east, north = query.area.bounds
        conditions = ["west <= :east", "east >= :west", "south <= :north", "north >= :south"]
        values: dict[str, Any] = {"west": west, "south": south, "east": east, "north": north}
        if query.start is not None:
            conditions.append("last_day >= :start_day")
            values["start_day"] = self._moment_written(query.start) / _MICROSECONDS_A_DAY
        if query.end is not None:
            conditions.append("first_day <= :end_day")
            values["end_day"] = self._moment_written(query.end) / _MICROSECONDS_A_DAY
        return "extent CROSS JOIN product ON product.key = extent.key", conditions, values

    def _record_extent(self, key: int, product: Product) -> None:
        day = self._moment_written(product.sensed_at) / _MICROSECONDS_A_DAY
        west, south, east, north = product.footprint.bounds
        self._rows(
            "INSERT OR REPLACE INTO extent VALUES (:key, :west, :east, :south, :north, :day, :day)",
            {"key": key, "west": west, "east": east, "south": south, "north": north, "day": day},
        )

    def _forget_extent(self, key: int) -> None:
        self._rows("DELETE FROM extent WHERE key = :key", {"key": key})

    def _is_among(self, column: str, name: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(:{name}))"

    def _array(self, values: Sequence[int] | Sequence[str]) -> str:
        return json.dumps(values)

    def _moment_written(self, moment: dt.datetime) -> int:
        return (moment - _EPOCH) // _MICROSECOND

    def _moment_read(self, value: int) -> dt.datetime:
        return _EPOCH + dt.timedelta(microseconds=value)

    def _prepare(self) -> None:
        if not self.read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailableError(
                    f"the folder of catalogue {self.path} cannot be created: {error}; check this user's permissions"
                ) from error
        version = self._schema_version()
        check_not_newer(version, SQLITE_MIGRATIONS, str(self.path))
        if version == len(SQLITE_MIGRATIONS):
            return
        if self.read_only:
            raise StoreUnavailableError(
                f"catalogue {self.path} has schema {version}, expected {len(SQLITE_MIGRATIONS)}: "
                "open it once for writing (any publication does) to bring it up to date"
            )
        with self._faults():
            _switch_to_wal(self._connection())
        with self.transaction():
            migrate(self._rows, self._schema_version(), SQLITE_MIGRATIONS, str(self.path))

    def _schema_version(self) -> int:
        there = self._rows("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
        return int(self._rows("SELECT version FROM schema_version")[0][0]) if there else 0

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            mode = "ro" if self.read_only else "rwc"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,  # `close` closes the connections of other threads
            )
            with self._guard:
                self._connections.append(connection)
            self._local.connection = connection
        return connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
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
    return "the file is damaged or not a catalogue: move it away and run `earthsignature catalogue rebuild`"


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; SQLite ignores the busy timeout here, and several may create a catalogue at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
