"""Class areas of a polygon and a period, against a count of every pixel by hand."""

import asyncio
import datetime as dt
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from earthsignature_assets.errors import BusyError, QueryError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.nomenclature import CODES
from earthsignature_assets.products.rasters import class_areas
from earthsignature_assets.products.rasters.class_areas import PixelBudget
from earthsignature_grpc.client import EarthSignatureClient, areas_frame
from earthsignature_grpc.client.requests import summarise_area
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.summary import area_summaries
from tests.grpc_service.v3.conftest import Ask, Serve, Shelf
from tests.raw_calls import unary_stream


def _random(seed: int, size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    codes = random.choice(np.array([0, 211, 311, 512], np.uint16), (size, size))
    return codes, random.integers(0, 2, (size // 2, size // 2), np.uint8)


def _inside(area: shapely.Geometry, tile: str, left: int, top: int, shape: tuple[int, int]) -> np.ndarray:
    """Tell for each pixel whether its centre lies in the area."""
    grid = tile_grid(tile)
    project = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform
    metres = shapely.transform(shapely.segmentize(area, 0.001), lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1])))
    columns = grid.left_m + 10 * (left + np.arange(shape[1]) + 0.5)
    rows = grid.top_m - 10 * (top + np.arange(shape[0]) + 0.5)
    inside: np.ndarray = np.asarray(shapely.contains_xy(metres, *np.meshgrid(columns, rows)))
    return inside


def _areas(codes: np.ndarray, counted: np.ndarray) -> dict[int, float]:
    found, pixels = np.unique(codes[counted & (codes != 0)], return_counts=True)
    return {int(code): 100.0 * count for code, count in zip(found, pixels, strict=True)}


@pytest.fixture
def triangle(boxed: Callable[..., shapely.Polygon]) -> shapely.Polygon:
    corners = shapely.get_coordinates(boxed("32TQM", 5, 7, 100, 90))
    west, south, east, north = shapely.MultiPoint(corners).bounds
    return shapely.Polygon([(west, south), (east, south + 0.001), (west + 0.004, north)])


def test_pixels_of_one_product_are_counted(
    ask: Ask, address: str, shelf: Shelf, name_of: Callable[..., str], triangle: shapely.Polygon
) -> None:
    codes, cloud = _random(1)
    shelf.put(name_of(), codes, cloud)
    (summary,) = ask(address, "summarise", triangle)
    inside, clear = _inside(triangle, "32TQM", 0, 0, codes.shape), ~np.kron(cloud, np.ones((2, 2), bool)).astype(bool)
    assert {entry.code: entry.area_m2 for entry in summary.classes} == _areas(codes, inside & clear)
    assert summary.observed_m2 == 100 * (inside & clear & (codes != 0)).sum()
    assert summary.cloudy_m2 == 100 * (inside & ~clear & (codes != 0)).sum()
    assert summary.area_m2 == pytest.approx(abs(Geod(ellps="WGS84").geometry_area_perimeter(triangle)[0]))
    assert summary.area_m2 == pytest.approx(100 * inside.sum(), rel=0.02)
    assert sum(entry.percent for entry in summary.classes) == pytest.approx(100)
    assert [entry.area_m2 for entry in summary.classes] == sorted(
        (entry.area_m2 for entry in summary.classes), reverse=True
    )
    frame = areas_frame([summary])
    assert frame["area_m2"].sum() == summary.observed_m2


def test_the_newest_clear_observation_counts(
    client: EarthSignatureClient, shelf: Shelf, name_of: Callable[..., str], boxed: Callable[..., shapely.Polygon]
) -> None:
    older, older_cloud = _random(1)
    newer, newer_cloud = _random(2)
    shelf.put(name_of(day=1), older, older_cloud)
    shelf.put(name_of(day=2), newer, newer_cloud)
    area = boxed("32TQM", -5, -5, 200, 200)
    (summary,) = client.summarise(area)
    fine = [np.kron(cloud, np.ones((2, 2), np.uint8)) == 1 for cloud in (older_cloud, newer_cloud)]
    first = np.where(fine[1], 0, newer)
    merged = np.where(first == 0, np.where(fine[0], 0, older), first)
    assert {entry.code: entry.area_m2 for entry in summary.classes} == _areas(merged, np.ones_like(merged, bool))
    seen_cloudy = ((newer != 0) & fine[1]) | ((older != 0) & fine[0])
    assert summary.cloudy_m2 == 100 * (seen_cloudy & (merged == 0)).sum()
    assert summary.product_ids == [name_of(day=2), name_of(day=1)]
    assert (summary.first_sensed_at.day, summary.last_sensed_at.day) == (1, 2)


def test_neighbouring_tiles_count_their_common_ground_once(
    client: EarthSignatureClient, shelf: Shelf, name_of: Callable[..., str], boxed: Callable[..., shapely.Polygon]
) -> None:
    # 32TPM is 100 km west of 32TQM: its columns from 10,000 on are the other's from 0 on.
    codes, _ = _random(3, 200)
    codes[codes == 0] = 311
    clear = np.zeros((100, 100), np.uint8)
    west, east = tile_grid("32TPM"), tile_grid("32TQM")
    shift = int((east.left_m - west.left_m) / 10)
    shelf.put(name_of("32TQM"), codes, clear)
    shelf.put(name_of("32TPM"), codes, clear, corner=(shift - 50, int(west.top_m - east.top_m) // 10))
    (summary,) = client.summarise(boxed("32TQM", -100, -10, 400, 300))
    assert summary.observed_m2 == 100 * 200 * 250


def test_two_zones_count_their_common_ground_once(
    client: EarthSignatureClient, shelf: Shelf, name_of: Callable[..., str]
) -> None:
    border = shapely.Point(12.0, 45.5)  # between zones 32 and 33
    codes = np.full((300, 300), 312, np.uint16)
    for tile in ("32TQR", "33TUL"):
        grid = tile_grid(tile)
        x, y = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform(border.x, border.y)
        corner = (int((x - grid.left_m) / 10) - 150, int((grid.top_m - y) / 10) - 150)
        shelf.put(name_of(tile), codes, corner=corner)
    one, other = (product.footprint for product in shelf.products)
    (summary,) = client.summarise(one.union(other))
    assert summary.observed_m2 == pytest.approx(summary.area_m2, rel=0.005)
    assert summary.observed_m2 < 1.2 * 300 * 300 * 100


def test_each_day_month_or_year_has_its_summary(
    ask: Ask, address: str, shelf: Shelf, name_of: Callable[..., str], boxed: Callable[..., shapely.Polygon]
) -> None:
    for day, code in ((1, 211), (2, 311), (40, 312), (400, 512)):
        shelf.put(name_of(day=day), np.full((64, 64), code, np.uint16))
    area = boxed("32TQM", 0, 0, 64, 64)

    def seen(interval: str | None, **filters: Any) -> list[list[int]]:
        return [
            [entry.code for entry in summary.classes]
            for summary in ask(address, "summarise", area, interval=interval, **filters)
        ]

    assert seen(None) == [[512]]
    assert seen("day") == [[211], [311], [312], [512]]
    assert seen("month") == [[311], [312], [512]]
    assert seen("year") == [[312], [512]]
    assert seen("month", end=dt.date(2026, 1, 1)) == [[211]]
    assert seen("day", start=dt.date(2030, 1, 1)) == []
    assert seen("day", model="corine-unet-v2") == []


def test_parts_of_an_area_that_overlap_count_once(
    client: EarthSignatureClient, shelf: Shelf, name_of: Callable[..., str], boxed: Callable[..., shapely.Polygon]
) -> None:
    shelf.put(name_of(), np.full((64, 64), 312, np.uint16))
    parts = shapely.GeometryCollection([boxed("32TQM", 0, 0, 40, 64), boxed("32TQM", 20, 0, 44, 64)])
    (summary,) = client.summarise(parts)
    assert summary.observed_m2 == 64 * 64 * 100
    assert summary.area_m2 == pytest.approx(64 * 64 * 100, rel=0.002)


def test_a_large_area_is_walked_block_by_block(
    client: EarthSignatureClient,
    shelf: Shelf,
    name_of: Callable[..., str],
    boxed: Callable[..., shapely.Polygon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(class_areas, "_BLOCK", 64)
    codes, cloud = _random(5, 300)
    shelf.put(name_of(), codes, cloud, corner=(37, 21))
    area = boxed("32TQM", 0, 0, 500, 500)
    (summary,) = client.summarise(area)
    clear = np.kron(cloud, np.ones((2, 2), np.uint8)) == 0
    assert {entry.code: entry.area_m2 for entry in summary.classes} == _areas(codes, clear)


@pytest.mark.parametrize(
    ("area", "field"),
    [("", "wkt"), ("nonsense", "wkt"), ("POINT (1 1)", "wkt"), ("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))", "wkt")],
)
def test_invalid_areas_are_refused(
    ask: Ask, address: str, shelf: Shelf, name_of: Callable[..., str], area: str, field: str
) -> None:
    shelf.put(name_of())
    with pytest.raises(QueryError) as caught:
        ask(address, "summarise", area)
    assert caught.value.field == field


def test_an_unknown_interval_is_refused(ask: Ask, address: str, boxed: Callable[..., shapely.Polygon]) -> None:
    with pytest.raises(QueryError, match="'day', 'month', 'year'"):
        ask(address, "summarise", boxed("32TQM", 0, 0, 10, 10), interval="week")


def test_too_much_work_is_refused_before_it_is_done(
    client: EarthSignatureClient,
    shelf: Shelf,
    name_of: Callable[..., str],
    boxed: Callable[..., shapely.Polygon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf.put(name_of(), np.full((300, 300), 312, np.uint16))
    area = boxed("32TQM", 0, 0, 300, 300)
    reads = []
    monkeypatch.setattr(class_areas, "PixelBudget", lambda pixels=80_000: PixelBudget(pixels))
    monkeypatch.setattr(class_areas, "_placed", lambda *arguments: reads.append(arguments))
    with pytest.raises(QueryError, match="smaller area or a shorter period"):
        client.summarise(area)
    assert reads == []


def test_reading_stops_where_the_budget_ends(
    client: EarthSignatureClient,
    shelf: Shelf,
    name_of: Callable[..., str],
    boxed: Callable[..., shapely.Polygon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf.put(name_of(), np.full((300, 300), 312, np.uint16))
    monkeypatch.setattr(class_areas, "PixelBudget", lambda pixels=40_000: PixelBudget(pixels))
    corner_to_corner = boxed("32TQM", 0, 0, 20, 20).union(boxed("32TQM", 280, 280, 20, 20))
    with pytest.raises(QueryError, match="smaller area or a shorter period"):
        client.summarise(corner_to_corner)


def test_a_client_that_leaves_ends_its_count(
    shelf: Shelf,
    name_of: Callable[..., str],
    boxed: Callable[..., shapely.Polygon],
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(class_areas, "_BLOCK", 16)
    counted, count = itertools.count(), class_areas._count_block
    monkeypatch.setattr(class_areas, "_count_block", lambda *arguments: (next(counted), count(*arguments)))
    shelf.put(name_of(), np.full((1000, 1000), 312, np.uint16))
    area = boxed("32TQM", 0, 0, 1000, 1000)
    with serve(shelf.store.root) as address, EarthSignatureClient(address, timeout_s=0.5) as client:
        call = summarise_area(area, None, {})
        responses = unary_stream(client._channel, call.method)(call.request, timeout=0.5)
        with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
            next(responses)
    assert 0 < next(counted) < (1000 // 16) ** 2 / 2


async def test_an_eleventh_call_at_once_is_refused_with_a_delay() -> None:
    with ThreadPoolExecutor(1) as threads:
        release = threading.Event()
        threads.submit(release.wait)
        answer = area_summaries(cast("ProductReader", None), threads)
        waiting = [asyncio.ensure_future(answer(b"")) for _ in range(10)]
        await asyncio.sleep(0.05)
        (refusal,) = await asyncio.gather(answer(b""), return_exceptions=True)
        release.set()
        assert isinstance(refusal, BusyError)
        assert "retry in 5 s" in str(refusal)
        assert all(isinstance(error, QueryError) for error in await asyncio.gather(*waiting, return_exceptions=True))
        with pytest.raises(QueryError):
            await answer(b"")


def test_codes_are_those_of_the_nomenclature(
    client: EarthSignatureClient, shelf: Shelf, name_of: Callable[..., str], boxed: Callable[..., shapely.Polygon]
) -> None:
    codes = np.resize(np.array(CODES, np.uint16), (64, 64))
    shelf.put(name_of(), codes)
    (summary,) = client.summarise(boxed("32TQM", -1, -1, 70, 70))
    assert {entry.code for entry in summary.classes} == set(CODES)
