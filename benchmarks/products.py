"""Products: from a class raster to published files."""

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_TILE_SIDE = 10980
_PART_SIDE = 4096
_FEWEST_REGIONS = 400_000
_SYSTEM_PYTHON = "/usr/bin/python3"
_SHAPES, _GDAL = "rasterio.features.shapes", "gdal.Polygonize"
_GEOS, _COARSEN = "shapely.coverage_simplify", "coarsen"
_PUBLISHED_IN_2022 = Path("../shared/data/earthsignature_2022/33TXL_segmentation.tif")
_GDAL_SCRIPT = """
import sys, time
from osgeo import gdal, ogr
gdal.UseExceptions()
raster = gdal.Open(sys.argv[1])
started = time.perf_counter()
source = ogr.GetDriverByName("Memory").CreateDataSource("")  # its layers go with it
layer = source.CreateLayer("polygons")
layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
gdal.Polygonize(raster.GetRasterBand(1), None, layer, 0)
print(time.perf_counter() - started, layer.GetFeatureCount())
"""


def _raster_path(options: Options) -> Path:
    return options.folder / "tile.npy"


def _prepare(options: Options) -> None:
    """Create a full tile of eight classes with 540,443 regions, as in a dense tile."""
    import cv2
    import numpy as np

    if _raster_path(options).exists():
        return
    random = np.random.default_rng(0)
    shape = (_TILE_SIDE, _TILE_SIDE)
    codes = np.zeros(shape, np.uint16)
    highest = np.full(shape, -np.inf, np.float32)
    for code in (112, 121, 211, 231, 311, 312, 321, 512):
        field = cv2.GaussianBlur(random.standard_normal(shape, dtype=np.float32), (0, 0), 7.0)
        codes[field > highest] = code
        np.maximum(highest, field, out=highest)
    np.save(_raster_path(options), codes)


def _class_raster(options: Options, side: int = _TILE_SIDE) -> "npt.NDArray[np.uint16]":
    import numpy as np

    raster: npt.NDArray[np.uint16] = np.load(_raster_path(options), mmap_mode="r")[:side, :side].copy()
    return raster


@contextmanager
def _polygons(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.products.polygons.boundaries import assemble_rings, ring_coordinates, trace_arcs
    from earthsignature_assets.products.polygons.polygon_layer import shapely_polygons
    from earthsignature_assets.products.polygons.regions import label_regions

    codes = _class_raster(options)

    def work() -> float:
        started = time.perf_counter()
        regions = label_regions(codes)
        arcs = trace_arcs(regions.labels)
        rings = assemble_rings(arcs, len(regions.codes))
        vertices, ring_offsets = ring_coordinates(arcs.vertices, arcs.offsets, rings)
        polygons = shapely_polygons(vertices, ring_offsets, rings.region_offsets)
        seconds = time.perf_counter() - started
        assert len(polygons) >= _FEWEST_REGIONS, len(polygons)
        return seconds

    yield work


@contextmanager
def _rasterio_shapes(options: Options) -> Iterator[Callable[[], float]]:
    from rasterio.features import shapes
    from shapely.geometry import shape

    codes = _class_raster(options)

    def work() -> float:
        started = time.perf_counter()
        polygons = [shape(geometry) for geometry, _ in shapes(codes, mask=codes != 0)]
        seconds = time.perf_counter() - started
        assert len(polygons) >= _FEWEST_REGIONS, len(polygons)
        return seconds

    yield work


@contextmanager
def _gdal_polygonize(options: Options) -> Iterator[Callable[[], float]]:
    """Polygonise in memory with the system's Python bindings of GDAL, which have a separate GDAL."""
    import rasterio

    codes = _class_raster(options)
    path = options.folder / "tile.tif"
    profile = {"driver": "GTiff", "width": _TILE_SIDE, "height": _TILE_SIDE, "count": 1, "dtype": "uint16"}
    transform = rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as raster:
        raster.write(codes, 1)

    def work() -> float:
        command = [_SYSTEM_PYTHON, "-W", "ignore", "-c", _GDAL_SCRIPT, str(path)]
        seconds, count = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        assert int(count) >= _FEWEST_REGIONS, count
        return float(seconds)

    yield work


@contextmanager
def _simplification(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.products.polygons.boundaries import assemble_rings, ring_coordinates, trace_arcs
    from earthsignature_assets.products.polygons.polygon_layer import shapely_polygons
    from earthsignature_assets.products.polygons.regions import label_regions, sieve_regions
    from earthsignature_assets.products.polygons.simplification import simplify_arcs

    regions = sieve_regions(label_regions(_class_raster(options, _PART_SIDE)), 25)
    arcs = trace_arcs(regions.labels)
    rings = assemble_rings(arcs, len(regions.codes))

    def work() -> float:
        started = time.perf_counter()
        vertices, offsets = simplify_arcs(arcs, regions.shape, 1.0)
        coordinates, ring_offsets = ring_coordinates(vertices, offsets, rings)
        simplified = shapely_polygons(coordinates, ring_offsets, rings.region_offsets)
        seconds = time.perf_counter() - started
        assert len(simplified) == len(regions.codes)
        return seconds

    yield work


def _traced_polygons(options: Options) -> "npt.NDArray[np.object_]":
    from earthsignature_assets.products.polygons.boundaries import assemble_rings, ring_coordinates, trace_arcs
    from earthsignature_assets.products.polygons.polygon_layer import shapely_polygons
    from earthsignature_assets.products.polygons.regions import label_regions, sieve_regions

    regions = sieve_regions(label_regions(_class_raster(options, _PART_SIDE)), 25)
    arcs = trace_arcs(regions.labels)
    rings = assemble_rings(arcs, len(regions.codes))
    vertices, ring_offsets = ring_coordinates(arcs.vertices, arcs.offsets, rings)
    return shapely_polygons(vertices, ring_offsets, rings.region_offsets)


@contextmanager
def _coverage_simplify(options: Options) -> Iterator[Callable[[], float]]:
    import shapely

    yield _timed(lambda polygons: shapely.coverage_simplify(polygons, 1.0), _traced_polygons(options))


@contextmanager
def _coarsen(options: Options) -> Iterator[Callable[[], float]]:
    import coarsen

    yield _timed(lambda polygons: coarsen.coverage_simplify(polygons, 1.0), _traced_polygons(options))


def _timed(simplify: Callable[[Any], Any], polygons: Any) -> Callable[[], float]:
    def work() -> float:
        started = time.perf_counter()
        simplified = simplify(polygons)
        seconds = time.perf_counter() - started
        assert len(simplified) == len(polygons)
        return seconds

    return work


@contextmanager
def _publication(options: Options) -> Iterator[Callable[[], float]]:
    import datetime as dt

    import numpy as np

    from earthsignature_assets.grid import tile_grid
    from earthsignature_assets.keys import ModelVersion, SceneKey
    from earthsignature_assets.products.draft import Draft
    from earthsignature_assets.products.polygons.generalisation import land_cover_polygons
    from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
    from earthsignature_assets.products.polygons.geoparquet import write_geoparquet
    from earthsignature_assets.products.product import Asset
    from earthsignature_assets.products.rasters.cog import write_rasters
    from earthsignature_assets.products.rasters.thumbnail import write_thumbnail
    from earthsignature_assets.products.store.product_store import ProductStore
    from earthsignature_assets.system.atomic import write_whole

    codes = _class_raster(options)
    confidence = np.empty(codes.shape, np.uint8)
    confidence[:] = (np.arange(len(codes)) // 7 % 13)[:, None]
    confidence += (codes % 61 + 25).astype(np.uint8)
    cloud = codes == 121
    grid = tile_grid("32TQM")
    model = ModelVersion("corine-unet", 1)

    def step(folder: Path) -> None:
        draft = Draft(
            folder=folder / "draft",
            product_id="S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
            scene=SceneKey(dt.date(2026, 5, 1), 65, "32TQM"),
            model=model,
            product_type="S2MSI2A",
            sensed_at=dt.datetime(2026, 5, 1, 10, 15, 59, tzinfo=dt.UTC),
            footprint=grid.footprint(),
            cloud_cover_percent=12.5,
            source_hrefs=("https://stac.example/items/S2B_32TQM_20260501_0_L2A",),
            grid=grid,
        )
        draft.save()
        write_rasters(draft, codes, confidence, cloud)
        write_thumbnail(draft.path(Asset.THUMBNAIL), codes)
        made = land_cover_polygons(codes, confidence, grid, draft.product_id, model)
        assert made.raw_count >= _FEWEST_REGIONS, made.raw_count
        write_geoparquet(made.layer, draft.path(Asset.POLYGONS), made.facts())
        write_whole(draft.path(Asset.GEOBUF), encode_feature_collection(made.layer))
        del made  # the next step of the chain reads the files
        ProductStore(folder / "store").publish(draft)

    def work() -> float:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            started = time.perf_counter()
            step(Path(folder))
            return time.perf_counter() - started

    yield work


@contextmanager
def _raster_bytes(options: Options) -> Iterator[Callable[[], float]]:
    import rasterio

    from earthsignature_assets.grid import tile_grid
    from earthsignature_assets.products.rasters.cog import write_land_cover

    with rasterio.open(_PUBLISHED_IN_2022) as raster:
        codes = raster.read(1)
    codes[codes == 511] = 0  # outside the swath, where that file has water courses

    def work() -> float:
        path = options.folder / "land_cover.tif"
        write_land_cover(path, codes, tile_grid("33TXL"))
        return path.stat().st_size / 1000

    yield work


@contextmanager
def _bytes_of_2022(_: Options) -> Iterator[Callable[[], float]]:
    yield lambda: _PUBLISHED_IN_2022.stat().st_size / 1000


def _without_coarsen() -> str | None:
    found = importlib.util.find_spec("coarsen")
    return None if found else "coarsen is not installed (uv pip install --group bench)"


def _without_gdal() -> str | None:
    probe = [_SYSTEM_PYTHON, "-c", "import osgeo.gdal"]
    if shutil.which(_SYSTEM_PYTHON) and not subprocess.run(probe, capture_output=True, check=False).returncode:
        return None
    return "GDAL's Python bindings are not installed (apt-get install python3-gdal)"


def _without_tile() -> str | None:
    return None if _PUBLISHED_IN_2022.exists() else f"{_PUBLISHED_IN_2022} is not there"


ROWS = (
    Row(
        name="polygons",
        title="a dense tile, 540,443 regions, to polygons that share their vertices",
        unit="s (a tile)",
        own=_polygons,
        peers={_SHAPES: _rasterio_shapes, _GDAL: _gdal_polygonize},
        target=Target(
            f"≥ 8× faster than {_SHAPES}, ≥ 4× than {_GDAL}",
            lambda value, peers: peers[_SHAPES] >= 8 * value and peers.get(_GDAL, 4 * value) >= 4 * value,
        ),
        prepare=_prepare,
        needs={_GDAL: _without_gdal},
        repetitions=1,
    ),
    Row(
        name="simplification",
        title=f"simplify a coverage of {_PART_SIDE}² px, 54,000 polygons, to shapely polygons",
        unit=f"s ({_PART_SIDE}² px)",
        own=_simplification,
        peers={_GEOS: _coverage_simplify, _COARSEN: _coarsen},
        target=Target("as fast as the fastest", lambda value, peers: value <= min(peers.values())),
        prepare=_prepare,
        needs={_COARSEN: _without_coarsen},
        repetitions=3,
    ),
    Row(
        name="publication",
        title="a dense tile: rasters, polygons and item, validated and published",
        unit="s (a tile)",
        own=_publication,
        target=Target("≤ 25 s and ≤ 2 GB", lambda value, _: value <= 25, most_mb=2000),
        prepare=_prepare,
        repetitions=2,
    ),
    Row(
        name="raster_size",
        title="the tile published in 2022 with corrected no data, against its file",
        unit="kB",
        own=_raster_bytes,
        peers={"2022": _bytes_of_2022},
        target=Target("≤ 0.65× of its file", lambda value, peers: value <= 0.65 * peers["2022"]),
        needs={"own": _without_tile},
        repetitions=1,
    ),
)
