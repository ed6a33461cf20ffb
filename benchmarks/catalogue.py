"""The catalogue: searches among many products."""

import datetime as dt
import hashlib
import importlib.util
import itertools
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.postgres_server import postgres_server
from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import shapely

_FIRST_DAY = dt.datetime(2023, 1, 1, 10, tzinfo=dt.UTC)
_DAYS = 1_095
_QUERIES = 200
_MOST_MS = 1.0
_MODEL = "corine-unet-v1"
_CLASSES = 0b1011
_COLUMNS = (
    "key, product_id, model, scene, product_type, sensed_at, published_at, footprint, cloud_cover_percent, "
    "class_mask, folder, best, change"
)


@dataclass(frozen=True)
class _Rows:
    """Create products all over Europe in three years, with slanted footprints about as large as a tile."""

    product_ids: list[str]
    scenes: list[str]
    folders: list[str]
    sensed_at: list[dt.datetime]
    footprints: "npt.NDArray[np.object_]"


def _synthetic_rows(count: int) -> _Rows:
    import numpy as np
    import shapely

    random = np.random.default_rng(1)
    west, south = random.uniform(-10, 30, count), random.uniform(36, 70, count)
    corners = np.array([(0.1, 0), (1.3, 0), (1.2, 1), (0, 1), (0.1, 0)])
    footprints = shapely.polygons(np.column_stack([west, south])[:, None, :] + corners)
    days, seconds = random.integers(0, _DAYS, count).tolist(), random.integers(0, 7200, count).tolist()
    sensed_at = [_FIRST_DAY + dt.timedelta(days=days[n], seconds=seconds[n]) for n in range(count)]
    letters = "ABCDEFGHJKLMNPQRSTUV"
    tiles = [f"{1 + n % 60:02d}U{letters[n // 60 % 20]}{letters[n // 1200 % 20]}" for n in range(count)]
    orbits = [1 + n // 24_000 for n in range(count)]
    scenes = [f"{sensed_at[n]:%Y-%m-%d}_R{orbits[n]:03d}_T{tiles[n]}" for n in range(count)]
    return _Rows(
        product_ids=[
            f"S2B_MSIL2A_{sensed_at[n]:%Y%m%dT%H%M%S}_N0511_R{orbits[n]:03d}_T{tiles[n]}_{sensed_at[n]:%Y%m%dT%H%M%S}"
            for n in range(count)
        ],
        scenes=scenes,
        folders=[f"products/{_MODEL}/{scene}/{n:016x}" for n, scene in enumerate(scenes)],
        sensed_at=sensed_at,
        footprints=footprints,
    )


def catalogue_path(options: Options) -> Path:
    from earthsignature_assets.products.catalogue import schema

    tables_and_rows = b"".join(Path(file).read_bytes() for file in (str(schema.__file__), __file__))
    digest = hashlib.sha256(tables_and_rows).hexdigest()[:12]
    return options.folder / f"catalogue-{options.products}-{digest}" / "catalogue.sqlite"


def prepare(options: Options) -> None:
    """Fill a catalogue by one SQL statement: `record` takes 0.17 ms a product, and this row measures searches."""
    import shapely

    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.products.catalogue.sqlite_catalogue import SqliteCatalogue

    path = catalogue_path(options)
    if path.exists():
        return
    partial = path.parent.with_name(path.parent.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with SqliteCatalogue(partial / path.name) as catalogue:
        catalogue.promote(ModelVersion.parse(_MODEL), "benchmark")
    rows = _synthetic_rows(options.products)
    moments = [int(moment.timestamp() * 1_000_000) for moment in rows.sensed_at]
    blobs, boxes = shapely.to_wkb(rows.footprints).tolist(), shapely.bounds(rows.footprints).tolist()
    connection = sqlite3.connect(partial / path.name)
    connection.executemany(
        f"INSERT INTO product ({_COLUMNS}) VALUES (?, ?, '{_MODEL}', ?, 'S2MSI2A', ?, ?, ?, 10.0, ?, ?, 1, ?)",
        zip(
            range(1, options.products + 1), rows.product_ids, rows.scenes, moments, moments, blobs,
            itertools.repeat(_CLASSES), rows.folders, range(1, options.products + 1), strict=False,
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO extent VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (key, west, east, south, north, moment / 86_400_000_000, moment / 86_400_000_000)
            for key, ((west, south, east, north), moment) in enumerate(zip(boxes, moments, strict=True), 1)
        ),
    )
    connection.execute("UPDATE latest_change SET number = ?", (options.products,))
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()
    partial.rename(path.parent)


def queries() -> "list[tuple[shapely.Polygon, dt.datetime, dt.datetime]]":
    import numpy as np
    import shapely

    random = np.random.default_rng(2)
    found = []
    for west, south, day in random.uniform((-10, 36, 0), (30, 70, _DAYS - 30), (_QUERIES, 3)):
        start = _FIRST_DAY + dt.timedelta(days=float(day))
        found.append((shapely.box(west, south, west + 1, south + 1), start, start + dt.timedelta(days=30)))
    return found


def _p50_ms(search: Callable[["shapely.Polygon", dt.datetime, dt.datetime], int]) -> float:
    taken, products = [], 0
    for area, start, end in queries():
        began = time.perf_counter()
        products += search(area, start, end)
        taken.append((time.perf_counter() - began) * 1e3)
    assert products, "no query found a product"
    return median(taken)


@contextmanager
def _catalogue(options: Options) -> Iterator[Callable[[], float]]:
    """Run `Catalogue.search` as the service does: R*Tree, rows, exact geometry test, `Product` objects, in order."""
    from earthsignature_assets.products.catalogue.catalogue import ProductQuery
    from earthsignature_assets.products.catalogue.sqlite_catalogue import SqliteCatalogue

    with SqliteCatalogue(catalogue_path(options), read_only=True) as catalogue:
        yield lambda: _p50_ms(
            lambda area, start, end: len(list(catalogue.search(ProductQuery(area=area, start=start, end=end))))
        )


@contextmanager
def _postgis(options: Options) -> Iterator[Callable[[], float]]:
    """Run the same search on PostGIS: a temporary server on loopback, filled beforehand."""
    import psycopg
    import shapely

    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.products.catalogue.catalogue import ProductQuery
    from earthsignature_assets.products.catalogue.postgis_catalogue import PostgisCatalogue

    with postgres_server() as url, PostgisCatalogue(url) as catalogue:
        catalogue.promote(ModelVersion.parse(_MODEL), "benchmark")
        rows = _synthetic_rows(options.products)
        blobs = shapely.to_wkb(shapely.set_srid(rows.footprints, 4326), hex=True, include_srid=True).tolist()
        columns = _COLUMNS.replace("key, ", "", 1)
        with psycopg.connect(url, autocommit=True) as connection:
            with connection.cursor().copy(f"COPY product ({columns}) FROM STDIN") as copy:
                for number, name in enumerate(rows.product_ids):
                    moment = rows.sensed_at[number]
                    copy.write_row(
                        (
                            name, _MODEL, rows.scenes[number], "S2MSI2A", moment, moment, blobs[number], 10.0, _CLASSES,
                            rows.folders[number], True, number + 1,
                        )
                    )  # fmt: skip
            connection.execute("VACUUM ANALYZE")
        yield lambda: _p50_ms(
            lambda area, start, end: len(list(catalogue.search(ProductQuery(area=area, start=start, end=end))))
        )


def _without_postgis() -> str | None:
    if any(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        return None
    return "PostGIS is not installed: run scripts/install_services"


@contextmanager
def _duckdb(options: Options) -> Iterator[Callable[[], float]]:
    """Search box and time columns in DuckDB, in memory; the exact test uses shapely (no spatial extension)."""
    import duckdb
    import pyarrow as pa
    import shapely

    rows = _synthetic_rows(options.products)
    west, south, east, north = shapely.bounds(rows.footprints).T
    table = pa.table(
        {
            "product_id": rows.product_ids,
            "sensed_at": rows.sensed_at,
            "west": west, "south": south, "east": east, "north": north,
            "footprint": shapely.to_wkb(rows.footprints),
        }
    )  # fmt: skip
    connection = duckdb.connect(config={"threads": 2})
    connection.register("arrow", table)
    connection.execute("CREATE TABLE product AS SELECT * FROM arrow ORDER BY sensed_at")
    connection.unregister("arrow")

    def search(area: "shapely.Polygon", start: dt.datetime, end: dt.datetime) -> int:
        left, bottom, right, top = area.bounds
        found = connection.execute(
            "SELECT product_id, footprint FROM product WHERE sensed_at BETWEEN ? AND ? AND west <= ? AND east >= ? "
            "AND south <= ? AND north >= ? ORDER BY sensed_at DESC, product_id",
            (start, end, right, left, top, bottom),
        ).fetchall()
        footprints = shapely.from_wkb([row[1] for row in found])
        return int(shapely.intersects(area, footprints).sum())

    yield lambda: _p50_ms(search)


def _without_duckdb() -> str | None:
    return None if importlib.util.find_spec("duckdb") else "duckdb is not installed: it is in the group `bench`"


@contextmanager
def _tree_and_numpy(options: Options) -> Iterator[Callable[[], float]]:
    """Search an STRtree of footprints and an array of times in memory; the result is row numbers, not products."""
    import numpy as np
    import shapely

    rows = _synthetic_rows(options.products)
    tree = shapely.STRtree(rows.footprints)
    times = np.array([moment.timestamp() for moment in rows.sensed_at])

    def search(area: "shapely.Polygon", start: dt.datetime, end: dt.datetime) -> int:
        there = tree.query(area, predicate="intersects")
        then = times[there]
        return len(there[(then >= start.timestamp()) & (then <= end.timestamp())])

    yield lambda: _p50_ms(search)


ROWS = (
    Row(
        name="catalogue",
        title="1° box and 30 days among {products} products: index, rows, exact geometry test, `Product` objects",
        unit="ms (p50, {products} products)",
        own=_catalogue,
        peers={
            "the same on PostGIS": _postgis,
            "DuckDB in memory, column predicates": _duckdb,
            "shapely STRtree + numpy, row numbers only": _tree_and_numpy,
        },
        needs={"the same on PostGIS": _without_postgis, "DuckDB in memory, column predicates": _without_duckdb},
        target=Target(f"≤ {_MOST_MS:g} ms", lambda value, _: value <= _MOST_MS),
        prepare=prepare,
    ),
)
