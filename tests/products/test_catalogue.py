import datetime as dt
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError, StoreUnavailableError, UnknownClassError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.product import Product
from earthsignature_assets.products.schema import SCHEMA_VERSION

FIRST, SECOND, THIRD = (ModelVersion("corine-unet", number) for number in (1, 2, 3))
NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def product(
    number: int = 0,
    model: ModelVersion = FIRST,
    sensed_at: dt.datetime = NOON,
    footprint: BaseGeometry | None = None,
    class_codes: frozenset[int] = frozenset({311}),
) -> Product:
    return Product(
        product_id=f"S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T{number:06d}",
        scene=SceneKey(dt.date(2026, 5, 1), 65, "32TQM"),
        model=model,
        product_type="S2MSI2A",
        sensed_at=sensed_at,
        published_at=dt.datetime(2026, 5, 2, tzinfo=dt.UTC),
        footprint=footprint or shapely.box(11, 42, 12, 43),
        cloud_cover_percent=12.637376,
        class_codes=class_codes,
        folder=f"products/{model}/2026-05-01_R065_T32TQM/{number:012d}",
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue(tmp_path / "catalogue.sqlite") as opened:
        yield opened


def numbers(found: Iterator[Product]) -> list[int]:
    return [int(product.product_id[-6:]) for product in found]


def test_what_is_recorded_is_found_as_it_was(catalogue: Catalogue) -> None:
    wanted = replace(
        product(),
        sensed_at=dt.datetime(2026, 5, 1, 10, 15, 59, 24017, tzinfo=dt.UTC),
        footprint=shapely.MultiPolygon(
            [shapely.box(11.123456789, 42, 12, 43).difference(shapely.box(11.5, 42.5, 11.6, 42.6))]
        ),
        class_codes=frozenset({111, 523}),
    )
    catalogue.record(wanted)
    assert catalogue.find(wanted.product_id) == replace(wanted, current=True)
    assert catalogue.find(wanted.product_id, SECOND) is None
    assert catalogue.find("S2B_unknown") is None


def test_newest_first_then_by_name(catalogue: Catalogue) -> None:
    for number, hours in ((3, 0), (1, 0), (2, 5), (4, -30)):
        catalogue.record(product(number, sensed_at=NOON + dt.timedelta(hours=hours)))
    assert numbers(catalogue.search(ProductQuery())) == [2, 1, 3, 4]
    assert numbers(catalogue.search(ProductQuery(limit=2))) == [2, 1]
    assert numbers(catalogue.search(ProductQuery(area=shapely.Point(11.5, 42.5), limit=3))) == [2, 1, 3]
    assert numbers(catalogue.search(ProductQuery(limit=0))) == []


def test_a_second_record_replaces_the_row(catalogue: Catalogue) -> None:
    catalogue.record(product())
    catalogue.record(replace(product(), footprint=shapely.box(20, 50, 21, 51), class_codes=frozenset({512})))
    assert catalogue.count() == catalogue.count(FIRST) == 1
    assert not list(catalogue.search(ProductQuery(area=shapely.Point(11.5, 42.5))))
    assert len(list(catalogue.search(ProductQuery(area=shapely.Point(20.5, 50.5))))) == 1
    assert not list(catalogue.search(ProductQuery(class_codes=frozenset({311}))))


def test_the_geometry_counts_and_not_its_box(catalogue: Catalogue) -> None:
    catalogue.record(product(footprint=shapely.Polygon([(11, 42), (12, 42), (11, 43)])))
    assert list(catalogue.search(ProductQuery(area=shapely.Point(11.2, 42.2))))
    assert not list(catalogue.search(ProductQuery(area=shapely.Point(11.9, 42.9))))
    touching = shapely.box(12, 42, 13, 43)
    assert list(catalogue.search(ProductQuery(area=touching)))
    assert not list(catalogue.search(ProductQuery(area=shapely.Polygon())))
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), shapely.LineString([(11.1, 41), (11.1, 44)])])
    assert list(catalogue.search(ProductQuery(area=mixed)))


def test_time_bounds_are_inclusive_to_the_microsecond(catalogue: Catalogue) -> None:
    catalogue.record(product())
    moment = dt.timedelta(microseconds=1)
    area = shapely.Point(11.5, 42.5)
    for where in (None, area):
        assert list(catalogue.search(ProductQuery(area=where, start=NOON, end=NOON)))
        assert list(catalogue.search(ProductQuery(area=where, start=NOON - moment)))
        assert not list(catalogue.search(ProductQuery(area=where, start=NOON + moment)))
        assert not list(catalogue.search(ProductQuery(area=where, end=NOON - moment)))
    berlin = dt.timezone(dt.timedelta(hours=2))
    assert list(catalogue.search(ProductQuery(start=NOON.astimezone(berlin), end=NOON.astimezone(berlin))))


# A brute-force reference: what a query means, said with shapely alone.
def matches(found: Product, query: ProductQuery) -> bool:
    return (
        (query.area is None or query.area.intersects(found.footprint))
        and (query.start is None or found.sensed_at >= query.start)
        and (query.end is None or found.sensed_at <= query.end)
        and (query.product_ids is None or found.product_id in query.product_ids)
        and (not query.class_codes or bool(query.class_codes & found.class_codes))
        and found.model == (query.model or FIRST)
    )


degrees = st.integers(-40, 40).map(lambda n: n / 4)
boxes = st.builds(
    lambda west, south, width, height: shapely.box(west, south, west + width, south + height),
    degrees, degrees, st.integers(1, 12).map(lambda n: n / 4), st.integers(1, 12).map(lambda n: n / 4),
)  # fmt: skip
triangles = (
    st.lists(st.tuples(degrees, degrees), min_size=3, max_size=3, unique=True)
    .map(shapely.Polygon)
    .filter(lambda shape: shape.is_valid and shape.area > 0)
)
shapes = st.one_of(boxes, triangles)
areas = st.one_of(
    shapes,
    st.builds(shapely.Point, degrees, degrees),
    st.lists(shapes, min_size=1, max_size=3).map(shapely.GeometryCollection),
)
moments = st.integers(-3, 3).map(lambda n: NOON + n * dt.timedelta(hours=12))
codes = st.frozensets(st.sampled_from([111, 211, 311, 523]), max_size=2)
products = st.lists(
    st.builds(lambda m, t, f, c: product(0, m, t, f, c), st.sampled_from([FIRST, SECOND]), moments, shapes, codes),
    max_size=12,
).map(lambda made: [replace(one, product_id=product(number).product_id) for number, one in enumerate(made)])


@given(
    products,
    st.one_of(st.none(), areas),
    st.one_of(st.none(), moments),
    st.one_of(st.none(), moments),
    st.one_of(st.none(), st.frozensets(st.integers(0, 14).map(lambda n: product(n).product_id))),
    codes,
    st.sampled_from([None, FIRST, SECOND, THIRD]),
    st.one_of(st.none(), st.integers(0, 5)),
)
@settings(max_examples=120, deadline=None)
def test_any_search_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    recorded: list[Product],
    area: BaseGeometry | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    product_ids: frozenset[str] | None,
    class_codes: frozenset[int],
    model: ModelVersion | None,
    limit: int | None,
) -> None:
    if start is not None and end is not None and start > end:
        start, end = end, start
    query = ProductQuery(area, start, end, product_ids, class_codes, model, limit)
    with Catalogue(tmp_path_factory.mktemp("catalogue") / "catalogue.sqlite") as catalogue:
        with catalogue.transaction():
            catalogue.promote(FIRST, "test")
            for one in recorded:
                catalogue.record(one)
        found = [one.product_id for one in catalogue.search(query)]
    expected = sorted((one for one in recorded if matches(one, query)), key=lambda one: one.product_id)
    expected.sort(key=lambda one: one.sensed_at, reverse=True)
    assert found == [one.product_id for one in expected][:limit]


def test_the_first_model_is_promoted_and_a_later_one_waits(catalogue: Catalogue) -> None:
    catalogue.record(product(1, FIRST))
    catalogue.record(product(1, SECOND))
    catalogue.record(product(2, SECOND))
    assert [one.model for one in catalogue.search(ProductQuery())] == [FIRST]
    assert numbers(catalogue.search(ProductQuery(model=SECOND))) == [1, 2]
    assert catalogue.find(product(2).product_id) is None
    assert [(entry.model, entry.who) for entry in catalogue.promotions()] == [(FIRST, "catalogue")]
    assert catalogue.count() == 1
    assert catalogue.count(SECOND) == 2


def test_promotion_serves_old_and_new_products_and_can_be_taken_back(catalogue: Catalogue) -> None:
    catalogue.record(product(1, FIRST))
    catalogue.record(product(1, SECOND))
    catalogue.record(product(3, FIRST))
    catalogue.promote(SECOND, "Ada", "better on water")
    catalogue.record(product(2, SECOND))
    catalogue.record(product(2, FIRST))
    served = {one.product_id[-1]: one.model for one in catalogue.search(ProductQuery())}
    assert served == {"1": SECOND, "2": SECOND, "3": FIRST}
    assert all(one.current for one in catalogue.search(ProductQuery()))
    catalogue.promote(FIRST, "Ada", "worse on forest")
    assert {one.model for one in catalogue.search(ProductQuery())} == {FIRST}
    history = [(entry.model, entry.who, entry.why) for entry in catalogue.promotions()]
    assert history[:2] == [(FIRST, "Ada", "worse on forest"), (SECOND, "Ada", "better on water")]


def test_a_transaction_that_fails_leaves_nothing(catalogue: Catalogue) -> None:
    broken = replace(product(1), class_codes=frozenset({999}))

    def record_both() -> None:
        with catalogue.transaction():
            catalogue.record(product())
            catalogue.record(broken)

    with pytest.raises(UnknownClassError):
        record_both()
    assert catalogue.count() == 0
    assert not catalogue.promotions()
    catalogue.record(product())
    assert catalogue.count() == 1


@pytest.mark.parametrize(
    ("facts", "error", "message"),
    [
        ({"start": NOON, "end": NOON - dt.timedelta(days=1)}, QueryError, "after the end"),
        ({"start": dt.datetime(2026, 5, 1)}, QueryError, "time zone"),  # noqa: DTZ001
        ({"limit": -1}, QueryError, "negative"),
        ({"class_codes": frozenset({999})}, UnknownClassError, "999"),
    ],
)
def test_queries_that_make_no_sense(facts: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ProductQuery(**facts)


def test_a_slow_reader_neither_blocks_a_writer_nor_sees_a_product_twice(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with Catalogue(path) as writer, Catalogue(path, read_only=True) as reader:
        with writer.transaction():
            for number in range(600):
                writer.record(product(number))
        found = reader.search(ProductQuery())
        seen = [next(found).product_id]
        for number in range(600, 610):
            writer.record(product(number))
        writer.record(replace(product(599), footprint=shapely.box(0, 0, 1, 1)))
        seen += [one.product_id for one in found]
        assert seen == [product(number).product_id for number in range(600)]


def test_threads_share_one_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with Catalogue(path) as catalogue, Catalogue(path, read_only=True) as reader, ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(catalogue.record, product(number)) for number in range(40)]
        reading = [pool.submit(lambda: len(list(reader.search(ProductQuery())))) for _ in range(40)]
        for future in writing:
            future.result()
        assert all(0 <= future.result() <= 40 for future in reading)
        assert reader.count() == 40


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Catalogue(tmp_path / "catalogue.sqlite").close()
    with (
        Catalogue(tmp_path / "catalogue.sqlite", read_only=True) as reader,
        pytest.raises(StoreUnavailableError, match="readonly"),
    ):
        reader.record(product())


def test_a_catalogue_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="it does not exist"):
        Catalogue(tmp_path / "catalogue.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 20)
    for read_only in (True, False):
        with pytest.raises(StoreUnavailableError, match="no catalogue"):
            Catalogue(tmp_path / "catalogue.sqlite", read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_catalogue_of_a_newer_program_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "catalogue.sqlite"
    Catalogue(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version = version + 1")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnavailableError, match=f"schema {SCHEMA_VERSION + 1}.*upgrade EarthSignature"):
        Catalogue(path, read_only=read_only)


def test_an_empty_file_is_no_catalogue_to_a_reader(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").touch()
    with pytest.raises(StoreUnavailableError, match="schema 0"):
        Catalogue(tmp_path / "catalogue.sqlite", read_only=True)


def test_searches_use_their_indices(catalogue: Catalogue) -> None:
    statements: list[str] = []
    with catalogue.transaction() as connection:
        connection.set_trace_callback(statements.append)
    list(catalogue.search(ProductQuery()))
    list(catalogue.search(ProductQuery(model=FIRST)))
    list(catalogue.search(ProductQuery(area=shapely.box(0, 0, 1, 1))))
    list(catalogue.search(ProductQuery(product_ids=frozenset({"a"}))))
    plans = []
    with catalogue.transaction() as connection:
        connection.set_trace_callback(None)
        for statement in statements:
            if statement.startswith("SELECT product.key"):
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                plans.append(" ".join(str(row[3]) for row in plan))
    assert "served_newest_first" in plans[0]
    assert "model_newest_first" in plans[1]
    assert "VIRTUAL TABLE INDEX" in plans[2]
    assert "product_id=?" in plans[3]
    assert not any("TEMP B-TREE" in plan for plan in plans[:2])


def test_every_product_of_every_model(catalogue: Catalogue) -> None:
    catalogue.record(product(1, FIRST))
    catalogue.record(product(1, SECOND))
    assert [one.model for one in catalogue.all_products()] == [FIRST, SECOND]
    assert catalogue.folders() == {product(1, FIRST).folder, product(1, SECOND).folder}


# In processes of their own: threads of one interpreter hardly ever meet in the moment that matters.
MAKERS = """
import os, sys
from pathlib import Path
from earthsignature_assets.products.catalogue import Catalogue

failed = 0
for number in range(100):
    makers = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            try:
                with Catalogue(Path(sys.argv[1]) / f"{number}.sqlite") as catalogue:
                    os._exit(catalogue.count())
            except BaseException as error:
                print(error, flush=True)
                os._exit(1)
        makers.append(pid)
    failed += sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in makers)
sys.exit(failed)
"""


def test_several_may_make_a_catalogue_at_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MAKERS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
