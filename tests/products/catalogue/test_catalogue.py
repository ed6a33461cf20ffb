"""Tests of the catalogue in each of its databases."""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError, StoreUnavailableError, UnknownClassError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue.catalogue import Catalogue, Change, ModelCount, Position, ProductQuery
from earthsignature_assets.products.product import Product
from earthsignature_assets.products.store.location import open_catalogue

Location: TypeAlias = Path | str
NewLocation: TypeAlias = Callable[[], Location]
FIRST, SECOND, THIRD = (ModelVersion("corine-unet", number) for number in (1, 2, 3))
BASELINES = ("0510", "0509", "0510", "0511")
NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def scene(number: int) -> SceneKey:
    """Make a distinct scene for each number."""
    return SceneKey(dt.date(2026, 5, 1) + dt.timedelta(days=number // 143), 1 + number % 143, "32TQM")


def product(
    number: int = 0,
    model: ModelVersion = FIRST,
    sensed_at: dt.datetime = NOON,
    footprint: BaseGeometry | None = None,
    class_codes: frozenset[int] = frozenset({311}),
    cloud: float = 12.637376,
    baseline: str = "0512",
    place: int | None = None,
) -> Product:
    place = number if place is None else place
    return Product(
        product_id=f"S2B_MSIL2A_20260501T101559_N{baseline}_R065_T32TQM_20260501T{number:06d}",
        scene=scene(place),
        model=model,
        product_type="S2MSI2A",
        sensed_at=sensed_at,
        published_at=dt.datetime(2026, 5, 2, tzinfo=dt.UTC),
        footprint=footprint or shapely.box(11, 42, 12, 43),
        cloud_cover_percent=cloud,
        class_codes=class_codes,
        folder=f"products/{model}/{scene(place)}/{number:012d}",
    )


@pytest.fixture
def location(new_catalogue_location: NewLocation) -> Location:
    """Return the location for a new catalogue, once for each database."""
    return new_catalogue_location()


@pytest.fixture
def catalogue(location: Location) -> Iterator[Catalogue]:
    with open_catalogue(location) as opened:
        yield opened


def numbers(found: Iterator[Product]) -> list[int]:
    return [int(product.product_id[-6:]) for product in found]


def test_a_recorded_product_is_found_unchanged(catalogue: Catalogue) -> None:
    wanted = replace(
        product(),
        sensed_at=dt.datetime(2026, 5, 1, 10, 15, 59, 24017, tzinfo=dt.UTC),
        footprint=shapely.MultiPolygon(
            [
                shapely.Polygon(
                    shapely.box(11.123456789, 42, 12, 43).exterior, [shapely.box(11.5, 42.5, 11.6, 42.6).exterior]
                )
            ]
        ),
        class_codes=frozenset({111, 523}),
    )
    catalogue.record(wanted)
    assert catalogue.find(wanted.product_id) == replace(wanted, current=True)
    assert catalogue.find(wanted.product_id, SECOND) is None
    assert catalogue.find("S2B_unknown") is None


def test_products_are_ordered_newest_first_then_by_name(catalogue: Catalogue) -> None:
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


def test_the_geometry_decides_and_not_its_bounds(catalogue: Catalogue) -> None:
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


# A brute-force reference of the queries in plain Python and shapely.
def answer(recorded: list[Product], promoted: list[ModelVersion], query: ProductQuery) -> list[str]:
    rank = {model: number for number, model in enumerate(promoted)}  # the last promotion counts

    def baseline(one: Product) -> str:
        return one.product_id.split("_")[3]

    def chosen(one: Product) -> bool:
        if query.product_ids is not None:
            rivals = [other for other in recorded if other.product_id == one.product_id]
        else:
            rivals = [other for other in recorded if other.scene == one.scene]
            if any(baseline(other) > baseline(one) for other in rivals if other.model == one.model):
                return False
        if query.model is not None:
            return one.model == query.model
        return one.model in rank and rank[one.model] == max(rank.get(other.model, -1) for other in rivals)

    def matches(one: Product) -> bool:
        return (
            (query.area is None or query.area.intersects(one.footprint))
            and (query.start is None or one.sensed_at >= query.start)
            and (query.end is None or one.sensed_at <= query.end)
            and (query.product_ids is None or one.product_id in query.product_ids)
            and (not query.class_codes or bool(query.class_codes & one.class_codes))
            and (query.max_cloud_percent is None or one.cloud_cover_percent <= query.max_cloud_percent)
        )

    found = sorted((one for one in recorded if chosen(one) and matches(one)), key=lambda one: one.product_id)
    found.sort(key=lambda one: one.sensed_at, reverse=True)
    return [one.product_id for one in (reversed(found) if query.oldest_first else found)]


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
models = st.sampled_from([FIRST, SECOND, THIRD])
# Three names for each of a few scenes: each number is one processing with an older, an equal or a newer baseline.
products = st.lists(
    st.builds(
        lambda number, model, moment, shape, found, cloud: product(
            number, model, moment, shape, found, cloud, baseline=BASELINES[number % 4], place=number // 3
        ),
        st.integers(0, 14), models, moments, shapes, codes, st.sampled_from([0.0, 10.0, 30.5]),
    ),
    max_size=14,
    unique_by=lambda one: (one.product_id, one.model),
)  # fmt: skip
queries = st.builds(
    lambda area, one, other, ids, found, model, cloud, oldest: ProductQuery(
        area=area,
        start=min(one, other) if one and other else one,
        end=max(one, other) if one and other else other,
        product_ids=ids,
        class_codes=found,
        model=model,
        max_cloud_percent=cloud,
        oldest_first=oldest,
    ),
    st.none() | areas,
    st.none() | moments,
    st.none() | moments,
    st.none()
    | st.frozensets(
        st.integers(0, 16).map(lambda n: product(n, baseline=BASELINES[n % 4]).product_id),
        max_size=8,
    ),
    codes,
    st.none() | models,
    st.sampled_from([None, 0.0, 10.0]),
    st.booleans(),
)


@given(recorded=products, promoted=st.lists(models, max_size=4), asked=st.lists(queries, min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_search_equals_brute_force(
    new_catalogue_location: NewLocation,
    recorded: list[Product],
    promoted: list[ModelVersion],
    asked: list[ProductQuery],
) -> None:
    with open_catalogue(new_catalogue_location()) as catalogue:
        with catalogue.transaction():
            for one in recorded:
                catalogue.record(one)
            for model in promoted:
                catalogue.promote(model, "test")
        served = [one.model for one in recorded[:1]] + promoted
        current = [one.product_id for one in catalogue.all_products() if one.current]
        assert sorted(current) == sorted(answer(recorded, served, ProductQuery()))
        assert catalogue.count() == len(current)
        for query in asked:
            expected = answer(recorded, served, query)
            assert [one.product_id for one in catalogue.search(query)] == expected
            assert [one.product_id for one in catalogue.search(replace(query, limit=3))] == expected[:3]
            for before, one in pairwise(catalogue.search(query)):
                rest = catalogue.search(replace(query, after=Position.of(before), limit=1))
                assert [following.product_id for following in rest] == [one.product_id]


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


def test_a_promotion_serves_old_and_new_products_and_can_be_reverted(catalogue: Catalogue) -> None:
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
def test_invalid_queries_are_refused(facts: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ProductQuery(**facts)


def test_a_slow_reader_neither_blocks_a_writer_nor_sees_a_product_twice(location: Location) -> None:
    with open_catalogue(location) as writer, open_catalogue(location, read_only=True) as reader:
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


def test_threads_share_one_catalogue(location: Location) -> None:
    with (
        open_catalogue(location) as catalogue,
        open_catalogue(location, read_only=True) as reader,
        ThreadPoolExecutor(8) as pool,
    ):
        writing = [pool.submit(catalogue.record, product(number)) for number in range(40)]
        reading = [pool.submit(lambda: len(list(reader.search(ProductQuery())))) for _ in range(40)]
        for future in writing:
            future.result()
        assert all(0 <= future.result() <= 40 for future in reading)
        assert reader.count() == 40


def test_a_reader_cannot_write(location: Location) -> None:
    open_catalogue(location).close()
    with (
        open_catalogue(location, read_only=True) as reader,
        pytest.raises(StoreUnavailableError, match=r"read-?only"),
    ):
        reader.record(product())


def test_all_products_of_all_models_are_listed(catalogue: Catalogue) -> None:
    catalogue.record(product(1, FIRST))
    catalogue.record(product(1, SECOND))
    assert [one.model for one in catalogue.all_products()] == [FIRST, SECOND]
    assert catalogue.folders() == {product(1, FIRST).folder, product(1, SECOND).folder}


def test_a_higher_baseline_supersedes_a_lower_one(catalogue: Catalogue) -> None:
    older, newer = product(1, baseline="0510", place=7), product(0, baseline="0511", place=7)
    for order in ([older, newer], [newer, older]):
        for one in order:
            catalogue.record(one)
            assert len(list(catalogue.search(ProductQuery()))) == 1
        assert [one.product_id for one in catalogue.search(ProductQuery())] == [newer.product_id]
        assert [one.product_id for one in catalogue.search(ProductQuery(model=FIRST))] == [newer.product_id]
        named = catalogue.find(older.product_id)
        assert named == replace(older, current=False)
        assert catalogue.count() == catalogue.count(FIRST) == 1
        catalogue.forget(newer)
        assert catalogue.find(newer.product_id) is None
        assert list(catalogue.search(ProductQuery(area=shapely.box(0, 0, 50, 50)))) == [replace(older, current=True)]
        catalogue.forget(older)
        assert catalogue.count() == 0


def test_parts_of_one_baseline_coexist_until_a_whole_scene_supersedes_them(catalogue: Catalogue) -> None:
    catalogue.record(product(3, place=7))
    catalogue.record(product(5, place=7))
    assert numbers(catalogue.search(ProductQuery())) == [3, 5]
    catalogue.record(product(4, place=7), whole_scene=True)
    assert numbers(catalogue.search(ProductQuery())) == [4]
    assert catalogue.find(product(3).product_id) == replace(product(3, place=7), current=False)
    catalogue.record(product(6, baseline="0511", place=7), whole_scene=True)
    assert numbers(catalogue.search(ProductQuery())) == [4]


def test_a_promoted_model_serves_a_scene_even_from_a_lower_baseline(catalogue: Catalogue) -> None:
    catalogue.record(product(0, FIRST, baseline="0511", place=7))
    catalogue.record(product(1, SECOND, baseline="0510", place=7))
    assert numbers(catalogue.search(ProductQuery())) == [0]
    catalogue.promote(SECOND, "test")
    assert numbers(catalogue.search(ProductQuery())) == [1]


def test_changes_are_listed_in_order_and_once(catalogue: Catalogue) -> None:
    assert catalogue.latest_change() == 0
    assert catalogue.changes(0, 10) == []
    for number in range(4):
        catalogue.record(product(number))
    catalogue.record(product(1))  # the same product again is not a change
    catalogue.record(replace(product(0), folder="products/a/b/c"))
    changes = catalogue.changes(0, 10)
    assert [int(change.product.product_id[-6:]) for change in changes] == [1, 2, 3, 0]
    assert changes[0] == Change(2, replace(product(1), current=True))
    assert [change.number for change in changes] == sorted(change.number for change in changes)
    assert catalogue.latest_change() == changes[-1].number
    assert catalogue.changes(changes[1].number, 1) == changes[2:3]
    assert catalogue.changes(catalogue.latest_change(), 10) == []


def test_a_follower_misses_no_change_while_several_publish(location: Location) -> None:
    open_catalogue(location).close()
    with ThreadPoolExecutor(4) as pool, open_catalogue(location) as writer, open_catalogue(location) as reader:
        writing = [pool.submit(writer.record, product(number)) for number in range(60)]
        seen, cursor = list[int](), 0
        while len(seen) < 60:
            done = all(future.done() for future in writing)
            changes = reader.changes(cursor, 7)
            assert not (done and not changes), f"{60 - len(seen)} changes were missed"
            seen += [int(change.product.product_id[-6:]) for change in changes]
            cursor = changes[-1].number if changes else cursor
        for future in writing:
            future.result()
    assert sorted(seen) == list(range(60))


def test_models_are_listed_with_the_products_that_each_serves(catalogue: Catalogue) -> None:
    assert catalogue.models() == []
    catalogue.record(product(1, FIRST))
    catalogue.record(product(2, FIRST))
    catalogue.record(product(1, SECOND))
    assert catalogue.models() == [ModelCount(FIRST, 2, 2), ModelCount(SECOND, 1, 0)]
    catalogue.promote(SECOND, "test")
    assert catalogue.models() == [ModelCount(FIRST, 2, 1), ModelCount(SECOND, 1, 1)]


def test_impossible_names_match_nothing(catalogue: Catalogue) -> None:
    catalogue.record(product())
    strange = frozenset({"", "\0", "x" * 100_000, "'; DROP TABLE product; --", "%s", ":name", product().product_id})
    assert len(list(catalogue.search(ProductQuery(product_ids=strange)))) == 1
    assert not list(catalogue.search(ProductQuery(product_ids=frozenset())))


def test_a_catalogue_is_reopened_unchanged(location: Location) -> None:
    with open_catalogue(location) as first:
        first.record(product())
    for read_only in (False, True):
        with open_catalogue(location, read_only=read_only) as again:
            assert list(again.search(ProductQuery())) == [replace(product(), current=True)]
