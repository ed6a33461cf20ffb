import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.catalogue.schema import SQLITE_MIGRATIONS, migrate
from earthsignature_assets.products.catalogue.sqlite_catalogue import SqliteCatalogue

FIRST, SECOND = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 2)
BOX = shapely.to_wkb(shapely.box(0, 0, 1, 1))


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[SqliteCatalogue]:
    with SqliteCatalogue(tmp_path / "catalogue.sqlite") as opened:
        yield opened


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="it does not exist"):
        SqliteCatalogue(tmp_path / "catalogue.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 20)
    for read_only in (True, False):
        with pytest.raises(StoreUnavailableError, match="not a catalogue"):
            SqliteCatalogue(tmp_path / "catalogue.sqlite", read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_catalogue_of_a_newer_program_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "catalogue.sqlite"
    SqliteCatalogue(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version = version + 1")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnavailableError, match=f"schema {len(SQLITE_MIGRATIONS) + 1}.*upgrade EarthSignature"):
        SqliteCatalogue(path, read_only=read_only)


def test_a_reader_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").touch()
    with pytest.raises(StoreUnavailableError, match="schema 0"):
        SqliteCatalogue(tmp_path / "catalogue.sqlite", read_only=True)


def test_searches_use_their_indices(catalogue: SqliteCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[str] = []
    rows = SqliteCatalogue._rows

    def explained(self: SqliteCatalogue, text: str, values: Any = None) -> Any:
        if text.startswith("SELECT product.key"):
            plans.append(" ".join(str(row[3]) for row in rows(self, f"EXPLAIN QUERY PLAN {text}", values)))
        return rows(self, text, values)

    monkeypatch.setattr(SqliteCatalogue, "_rows", explained)
    for query in (
        ProductQuery(),
        ProductQuery(oldest_first=True, limit=5),
        ProductQuery(model=FIRST),
        ProductQuery(area=shapely.box(0, 0, 1, 1)),
        ProductQuery(product_ids=frozenset({"a"})),
    ):
        list(catalogue.search(query))
    assert "newest_first" in plans[0]
    assert "newest_first" in plans[1]
    assert "model_newest_first" in plans[2]
    assert "VIRTUAL TABLE INDEX" in plans[3]
    assert "product_id=?" in plans[4]
    assert "of_scene" in plans[0]
    assert not any("TEMP B-TREE" in plan for plan in plans[:3])


def test_a_catalogue_of_the_first_schema_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    names = [f"S2B_MSIL2A_20260501T101559_N{baseline}_R065_T32TQM_20260501T000000" for baseline in ("0510", "0511")]
    connection = sqlite3.connect(path)
    migrate(connection.execute, 0, SQLITE_MIGRATIONS[:1], "old")
    for key, (name, model) in enumerate([(names[1], FIRST), (names[0], FIRST), (names[0], SECOND)], 1):
        facts = (key, name, str(model), "2026-05-01_R065_T32TQM", "S2MSI2A", 10**15, 10**15, BOX, 1.5, 1, f"{key}", 1)
        connection.execute(f"INSERT INTO product VALUES ({', '.join('?' * 12)})", facts)
        connection.execute("INSERT INTO extent VALUES (?, 0, 1, 0, 1, 11574, 11574)", (key,))
    connection.execute("INSERT INTO promotion VALUES (1, ?, 1, 'Ada', '')", (str(FIRST),))
    connection.commit()
    connection.close()
    with SqliteCatalogue(path) as catalogue:
        assert [one.folder for one in catalogue.search(ProductQuery(area=shapely.box(0, 0, 1, 1)))] == ["1"]
        assert [one.folder for one in catalogue.search(ProductQuery(model=SECOND))] == ["3"]
        assert [change.number for change in catalogue.changes(0, 10)] == [1, 2, 3]
        catalogue.record(replace(next(catalogue.search(ProductQuery())), folder="4"))
        assert catalogue.latest_change() == 4


# In separate processes: threads of one interpreter hardly ever collide at the critical moment.
MAKERS = """
import os, sys
from pathlib import Path
from earthsignature_assets.products.catalogue.sqlite_catalogue import SqliteCatalogue

failed = 0
for number in range(100):
    makers = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            try:
                with SqliteCatalogue(Path(sys.argv[1]) / f"{number}.sqlite") as catalogue:
                    os._exit(catalogue.count())
            except BaseException as error:
                print(error, flush=True)
                os._exit(1)
        makers.append(pid)
    failed += sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in makers)
sys.exit(failed)
"""


def test_several_processes_can_create_a_catalogue_at_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MAKERS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_copy_of_the_file_has_every_row_while_a_reader_keeps_it_open(tmp_path: Path) -> None:
    path, copy = tmp_path / "catalogue.sqlite", tmp_path / "copy.sqlite"
    with SqliteCatalogue(path) as catalogue, SqliteCatalogue(path, read_only=True) as reader:
        catalogue.promote(FIRST, who="tests")
        assert len(reader.promotions()) == 1
        catalogue.promote(SECOND, who="tests")
        assert (path.parent / "catalogue.sqlite-wal").exists()
        shutil.copyfile(path, copy)
    with SqliteCatalogue(copy, read_only=True) as copied:
        assert [promotion.model for promotion in copied.promotions()] == [SECOND, FIRST]
