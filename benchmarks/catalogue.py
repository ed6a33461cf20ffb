"""Products: the catalogue that finds them."""

import datetime as dt
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    import shapely

    from earthsignature_assets.products.product import Product

_FIRST_DAY = dt.datetime(2023, 1, 1, 10, tzinfo=dt.UTC)
_DAYS = 1_095
_QUERIES = 200
_MOST_MS = 1.0


def _synthetic_products(count: int) -> "Iterator[Product]":
    """Products all over Europe in three years, slanted footprints about as large as a tile's."""
    import numpy as np
    import shapely

    from earthsignature_assets.keys import ModelVersion, SceneKey
    from earthsignature_assets.products.product import Product

    random = np.random.default_rng(1)
    model = ModelVersion("corine-unet", 1)
    west, south = random.uniform(-10, 30, count), random.uniform(36, 70, count)
    corners = np.array([(0.1, 0), (1.3, 0), (1.2, 1), (0, 1), (0.1, 0)])
    footprints = shapely.polygons(np.column_stack([west, south])[:, None, :] + corners)
    days, seconds = random.integers(0, _DAYS, count), random.integers(0, 7200, count)
    for number, footprint in enumerate(footprints):
        sensed_at = _FIRST_DAY + dt.timedelta(days=int(days[number]), seconds=int(seconds[number]))
        scene = SceneKey(sensed_at.date(), 1 + number % 143, "32TQM")
        name = f"S2B_MSIL2A_{sensed_at:%Y%m%dT%H%M%S}_N0511_R{scene.relative_orbit:03d}_T32TQM_{number:015d}"
        yield Product(
            product_id=name,
            scene=scene,
            model=model,
            product_type="S2MSI2A",
            sensed_at=sensed_at,
            published_at=sensed_at,
            footprint=footprint,
            cloud_cover_percent=10.0,
            class_codes=frozenset({211, 311, 312, 512}),
            folder=f"products/{model}/{scene}/{number:016x}",
        )


def _catalogue_path(options: Options) -> Path:
    from earthsignature_assets.products import catalogue, schema, sqlite_catalogue

    modules = (catalogue, schema, sqlite_catalogue)
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return (
        options.folder / f"catalogue-{options.products}-{hashlib.sha256(sources).hexdigest()[:12]}" / "catalogue.sqlite"
    )


def _prepare(options: Options) -> None:
    from earthsignature_assets.products.sqlite_catalogue import SqliteCatalogue

    path = _catalogue_path(options)
    if path.exists():
        return
    partial = path.parent.with_name(path.parent.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with SqliteCatalogue(partial / path.name) as catalogue, catalogue.transaction():
        for product in _synthetic_products(options.products):
            catalogue.record(product)
    partial.rename(path.parent)


def _queries() -> "list[tuple[shapely.Polygon, dt.datetime, dt.datetime]]":
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
    for area, start, end in _queries():
        began = time.perf_counter()
        products += search(area, start, end)
        taken.append((time.perf_counter() - began) * 1e3)
    assert products, "no query found a product"
    return median(taken)


@contextmanager
def _catalogue(options: Options) -> Iterator[Callable[[], float]]:
    """`Catalogue.search` as the service calls it: R*Tree, rows, exact geometry test, `Product` objects, in order."""
    from earthsignature_assets.products.catalogue import ProductQuery
    from earthsignature_assets.products.sqlite_catalogue import SqliteCatalogue

    with SqliteCatalogue(_catalogue_path(options), read_only=True) as catalogue:
        yield lambda: _p50_ms(
            lambda area, start, end: len(list(catalogue.search(ProductQuery(area=area, start=start, end=end))))
        )


@contextmanager
def _tree_and_numpy(options: Options) -> Iterator[Callable[[], float]]:
    """Footprints in an STRtree and times in an array, all in memory; row numbers come out, no products."""
    import numpy as np
    import shapely

    products = list(_synthetic_products(options.products))
    tree = shapely.STRtree([product.footprint for product in products])
    times = np.array([product.sensed_at.timestamp() for product in products])

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
        peers={"shapely STRtree + numpy, row numbers only": _tree_and_numpy},
        target=Target(f"≤ {_MOST_MS:g} ms", lambda value, _: value <= _MOST_MS),
        prepare=_prepare,
    ),
)
