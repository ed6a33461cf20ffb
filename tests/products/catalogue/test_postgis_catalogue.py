"""Cases that only a catalogue on a server has."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import shapely

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue import postgis_catalogue
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.catalogue.postgis_catalogue import PostgisCatalogue
from earthsignature_assets.products.catalogue.schema import POSTGIS_MIGRATIONS
from earthsignature_assets.products.product import Product

pytestmark = pytest.mark.services

PRODUCT = Product(
    product_id="S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
    scene=SceneKey(dt.date(2026, 5, 1), 65, "32TQM"),
    model=ModelVersion("corine-unet", 1),
    product_type="S2MSI2A",
    sensed_at=dt.datetime(2026, 5, 1, 10, 15, 59, tzinfo=dt.UTC),
    published_at=dt.datetime(2026, 5, 2, tzinfo=dt.UTC),
    footprint=shapely.box(11, 42, 12, 43),
    cloud_cover_percent=12.5,
    class_codes=frozenset({311}),
    folder="products/corine-unet-v1/2026-05-01_R065_T32TQM/0123456789ab",
)


@pytest.fixture
def url(new_postgis_schema: Callable[[], str]) -> str:
    return new_postgis_schema()


def test_a_connection_cut_by_the_server_is_reopened(url: str) -> None:
    with PostgisCatalogue(url) as catalogue, psycopg.connect(url, autocommit=True) as administrator:
        catalogue.record(PRODUCT)
        pid = catalogue._connection().info.backend_pid
        administrator.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert len(list(catalogue.search(ProductQuery()))) == 1
        assert catalogue._connection().info.backend_pid != pid


def test_a_transaction_cut_by_the_server_fails_and_leaves_nothing(url: str) -> None:
    with PostgisCatalogue(url) as catalogue, psycopg.connect(url, autocommit=True) as administrator:

        def cut_then_record() -> None:
            with catalogue.transaction():
                administrator.execute(
                    "SELECT pg_terminate_backend(%s, 5000)", (catalogue._connection().info.backend_pid,)
                )
                catalogue.record(PRODUCT)

        with pytest.raises(StoreUnavailableError) as caught:
            cut_then_record()
        assert caught.value.retryable
        assert catalogue.count() == 0
        catalogue.record(PRODUCT)
        assert catalogue.count() == 1


def test_a_writer_times_out_and_readers_do_not_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgis_catalogue, "BUSY_TIMEOUT_S", 0.2)
    with PostgisCatalogue(url) as holder, PostgisCatalogue(url) as other, holder.transaction():
        holder.record(PRODUCT)
        with pytest.raises(StoreUnavailableError, match="holds its write lock"):
            other.record(PRODUCT)
        assert other.count() == 0


def test_several_processes_can_create_a_catalogue_at_once(url: str) -> None:
    start = threading.Barrier(6)

    def make() -> int:
        start.wait()
        with PostgisCatalogue(url) as catalogue:
            return catalogue.count()

    with ThreadPoolExecutor(6) as pool:
        assert [future.result() for future in [pool.submit(make) for _ in range(6)]] == [0] * 6


def test_an_absent_server_is_named_without_its_password(free_port: Callable[[], int]) -> None:
    with pytest.raises(StoreUnavailableError, match="check that the server runs") as caught:
        PostgisCatalogue(f"postgresql://ada:secret@127.0.0.1:{free_port()}/catalogue")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_catalogue_of_a_newer_program_is_refused(url: str, read_only: bool) -> None:
    PostgisCatalogue(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE schema_version SET version = version + 1")
    with pytest.raises(StoreUnavailableError, match=f"schema {len(POSTGIS_MIGRATIONS) + 1}.*upgrade EarthSignature"):
        PostgisCatalogue(url, read_only=read_only)


def test_a_reader_does_not_create_a_catalogue(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="schema 0"):
        PostgisCatalogue(url, read_only=True)


def test_a_database_without_the_extensions_is_named(postgres_url: str) -> None:
    server = postgres_url.replace("+psycopg2", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE ROLE visitor LOGIN")
        connection.execute("CREATE DATABASE bare")
    try:
        with pytest.raises(StoreUnavailableError, match="administrator"):
            PostgisCatalogue(server.replace("dagster@", "visitor@").replace("/postgres", "/bare"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE bare")
            connection.execute("DROP ROLE visitor")
