"""The catalogue in a PostgreSQL database with PostGIS, for several machines and for a store on S3."""

import datetime as dt
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import BUSY_TIMEOUT_S, Catalogue
from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_assets.products.catalogue.schema import POSTGIS_MIGRATIONS, check_not_newer, migrate
from earthsignature_assets.products.product import Product

# These limits apply to every statement: to connect, to wait for other writers, to run, and to detect a silent server
# (10 s idle, then 3 probes 5 s apart).
_CONNECT_TIMEOUT_S = 10
_STATEMENT_TIMEOUT_S = 60
_KEEPALIVES: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_NAMED_VALUE = re.compile(r"(?<!:):([a-z_]+)")


class PostgisCatalogue(Catalogue):
    """A catalogue in the first schema of a database's search path; its tables are created if absent.

    A connection closed by the server is reopened, and a read outside a transaction is then repeated once.
    """

    _first_then = "JOIN"
    _footprint_read = "ST_AsBinary(footprint)"
    _footprint_written = "ST_GeomFromWKB(:footprint, 4326)"

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Connect to `postgresql://user@host:port/database`; the password comes from PGPASSWORD or ~/.pgpass."""
        super().__init__()
        self._url = url
        self.read_only = read_only
        self._connections: list[psycopg.Connection[tuple[Any, ...]]] = []
        self._guard = threading.Lock()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """URL of the database without the password, for messages."""
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1@", self._url)

    def close(self) -> None:
        """Close the connections of every thread; the catalogue cannot be used afterwards."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _rows(self, text: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._faults():
            connection = self._connection()
            try:
                return self._run(connection, text, values)
            except psycopg.OperationalError:
                if not connection.broken or getattr(self._local, "writing", False):
                    raise
            return self._run(self._connection(), text, values)

    def _begin(self) -> None:
        self._rows("BEGIN")
        try:
            # The write lock, which also makes changes visible in the order of their numbers.
            self._rows("SELECT number FROM latest_change FOR UPDATE")
        except BaseException:
            self._roll_back()
            raise

    def _commit(self) -> None:
        self._rows("COMMIT")

    def _roll_back(self) -> None:
        connection = self._local.connection
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")

    def _in_box(self, query: ProductQuery) -> tuple[str, list[str], dict[str, Any]]:
        assert query.area is not None  # noqa: S101 - the caller has looked
        west, south, east, north = query.area.bounds
        box = "footprint && ST_MakeEnvelope(:west, :south, :east, :north, 4326)"
        return "product", [box], {"west": west, "south": south, "east": east, "north": north}

    def _record_extent(self, key: int, product: Product) -> None:
        pass  # the row's own index covers its footprint and time

    def _forget_extent(self, key: int) -> None:
        pass

    def _is_among(self, column: str, name: str) -> str:
        return f"{column} = ANY(:{name})"

    def _array(self, values: Sequence[int] | Sequence[str]) -> list[int] | list[str]:
        return list(values)  # type: ignore[return-value]

    def _moment_written(self, moment: dt.datetime) -> dt.datetime:
        return moment

    def _moment_read(self, value: dt.datetime) -> dt.datetime:
        return value.astimezone(dt.UTC)

    def _prepare(self) -> None:
        version = self._schema_version()
        check_not_newer(version, POSTGIS_MIGRATIONS, self.name)
        if version == len(POSTGIS_MIGRATIONS):
            return
        if self.read_only:
            raise StoreUnavailableError(
                f"catalogue {self.name} has schema {version}, expected {len(POSTGIS_MIGRATIONS)}: "
                "open it once for writing (any publication does) to bring it up to date"
            )
        self._rows("BEGIN")
        try:
            # Several processes may create a catalogue at once: the others wait here and then find it.
            self._rows("SELECT pg_advisory_xact_lock(hashtext('earthsignature catalogue ' || current_schema()))")
            migrate(self._rows, self._schema_version(), POSTGIS_MIGRATIONS, self.name)
            self._rows("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _schema_version(self) -> int:
        # A query, not to_regclass, which may use what this connection knew before it waited for the lock.
        there = self._rows(
            "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'"
        )
        return int(self._rows("SELECT version FROM schema_version")[0][0]) if there else 0

    def _run(
        self, connection: psycopg.Connection[tuple[Any, ...]], text: str, values: Mapping[str, Any] | None
    ) -> list[tuple[Any, ...]]:
        cursor = connection.execute(_with_percents(text).encode(), values or {}, binary=True)
        return cursor.fetchall() if cursor.description else []

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection: psycopg.Connection[tuple[Any, ...]] | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            settings = {
                "statement_timeout": f"{_STATEMENT_TIMEOUT_S}s",
                "lock_timeout": f"{BUSY_TIMEOUT_S:g}s",
                "timezone": "UTC",
                "default_transaction_read_only": "on" if self.read_only else "off",
            }
            new = psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, **_KEEPALIVES)
            for name, value in settings.items():
                new.execute("SELECT set_config(%s, %s, false)", (name, value))
            with self._guard:
                if connection is not None:
                    self._connections.remove(connection)
                self._connections.append(new)
            self._local.connection = connection = new
        return connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            message = str(error).strip().partition("\n")[0]
            raise StoreUnavailableError(f"catalogue {self.name}: {message}; {_remedy(error)}") from error


def _remedy(error: psycopg.Error) -> str:
    match error:
        case psycopg.errors.LockNotAvailable():
            return "another program holds its write lock: try again"
        case psycopg.errors.UndefinedFile() | psycopg.errors.FeatureNotSupported():
            return "install PostGIS on the database's server"
        case psycopg.errors.InsufficientPrivilege():
            return "let an administrator create the extensions postgis and btree_gist, and grant this user the schema"
        case psycopg.errors.ReadOnlySqlTransaction():
            return "it was opened read-only"
        case psycopg.errors.UndefinedTable():
            return "it is not a catalogue, or it was dropped: run `earthsignature catalogue rebuild`"
        case _:
            return "check that the server runs, that the URL is right and that this user may connect"


@cache
def _with_percents(text: str) -> str:
    return _NAMED_VALUE.sub(r"%(\1)s", text)
