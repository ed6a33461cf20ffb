import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.polygons import geoparquet
from earthsignature_assets.products.polygons.generalisation import land_cover_polygons
from earthsignature_assets.products.polygons.geoparquet import read_facts, read_geoparquet, write_geoparquet
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer

NAME = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"


@pytest.fixture(scope="module")
def layer(swath_codes: Callable[..., np.ndarray], part_of_tile: Callable[..., PixelGrid]) -> PolygonLayer:
    codes = swath_codes(220, 300)
    confidence = (codes % 100).astype(np.uint8)
    return land_cover_polygons(codes, confidence, part_of_tile(220, 300), NAME, ModelVersion("corine-unet", 1)).layer


def test_geopandas_reads_the_same_polygons(layer: PolygonLayer, tmp_path: Path) -> None:
    write_geoparquet(layer, tmp_path / "polygons.parquet")
    frame = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert len(frame) > 50
    assert frame.crs == "EPSG:4326"
    assert frame.columns.tolist() == layer.frame.columns.tolist()
    assert frame.geometry.geom_equals_exact(layer.frame.geometry, 0).all()
    for column in layer.frame.columns.drop("geometry"):
        assert frame[column].tolist() == layer.frame[column].tolist()
    assert shapely.is_ccw(shapely.get_exterior_ring(frame.geometry.to_numpy())).all()


def test_metadata_are_those_of_geoparquet_1_1(layer: PolygonLayer, tmp_path: Path) -> None:
    write_geoparquet(layer, tmp_path / "polygons.parquet")
    metadata = json.loads(pq.read_schema(tmp_path / "polygons.parquet").metadata[b"geo"])
    column = metadata["columns"]["geometry"]
    assert metadata["version"] == "1.1.0"
    assert column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == pytest.approx(shapely.total_bounds(layer.geometries()))
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    boxes = pq.read_table(tmp_path / "polygons.parquet", columns=["bbox"])["bbox"].to_pylist()
    assert [tuple(box.values()) for box in boxes] == [tuple(row) for row in shapely.bounds(layer.geometries())]


def test_a_box_reads_only_what_it_touches(layer: PolygonLayer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geoparquet, "_ROWS_AT_ONCE", 32)
    write_geoparquet(layer, tmp_path / "polygons.parquet")
    assert pq.ParquetFile(tmp_path / "polygons.parquet").num_row_groups > 2
    west, south, east, north = shapely.total_bounds(layer.geometries())
    box = (west, (south + 3 * north) / 4, east, north)
    found = gpd.read_parquet(tmp_path / "polygons.parquet", bbox=box)
    touching = shapely.intersects(shapely.box(*box), shapely.box(*layer.bounds().T))
    assert len(found) == touching.sum() < len(layer)


def test_the_same_polygons_give_the_same_bytes(layer: PolygonLayer, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_geoparquet(layer, tmp_path / name, {"tolerance_m": 10.0})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("rows_at_once", [7, 100_000])
def test_every_array_is_read_back(
    layer: PolygonLayer, tmp_path: Path, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoparquet, "_ROWS_AT_ONCE", rows_at_once)
    write_geoparquet(layer, tmp_path / "polygons.parquet", {"min_area_m2": 2500.0})
    back = read_geoparquet(tmp_path / "polygons.parquet")
    assert (back.product_id, back.model) == (layer.product_id, layer.model)
    for name in ("codes", "areas_m2", "mean_confidence", "coordinates", "ring_offsets", "polygon_offsets"):
        assert np.array_equal(getattr(back, name), getattr(layer, name))
    assert read_facts(tmp_path / "polygons.parquet") == {"min_area_m2": 2500.0}


def test_a_raster_of_no_data_yields_no_polygons(tmp_path: Path, part_of_tile: Callable[..., PixelGrid]) -> None:
    zeros = np.zeros((30, 30), np.uint16)
    layer = land_cover_polygons(
        zeros, zeros.astype(np.uint8), part_of_tile(30, 30), NAME, ModelVersion("corine-unet", 1)
    ).layer
    write_geoparquet(layer, tmp_path / "polygons.parquet")
    assert len(read_geoparquet(tmp_path / "polygons.parquet")) == 0
    frame = gpd.read_parquet(tmp_path / "polygons.parquet")
    assert frame.empty
    assert frame.crs == "EPSG:4326"


def spoil(path: Path, **columns: pa.Array) -> None:
    table = pq.read_table(path)
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    pq.write_table(table, path)


def test_columns_that_contradict_each_other_are_named(layer: PolygonLayer, tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    count = len(layer)
    wrong = {
        "name": pa.array(["Sea and ocean"] * count),
        "level_1": pa.array(np.full(count, 9, np.uint8)),
        "bbox": pa.array([{"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}] * count),
    }
    for name, column in wrong.items():
        write_geoparquet(layer, path)
        spoil(path, **{name: column})
        with pytest.raises(ProductError, match=f"column {name} contradicts"):
            read_geoparquet(path)
    write_geoparquet(layer, path)
    spoil(path, code=pa.array(np.full(count, 110, np.uint16)))
    with pytest.raises(ProductError, match="110 is not a CORINE"):
        read_geoparquet(path)


@pytest.mark.parametrize(
    "wkb",
    [
        b"",
        shapely.to_wkb(shapely.Point(1, 2)),
        shapely.to_wkb(shapely.box(0, 0, 1, 1))[:-1],
        shapely.to_wkb(shapely.box(0, 0, 1, 1)) + b"\0",
        shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=0),
        b"\x01\x03\0\0\0\xff\xff\xff\xff",
        b"\x01\x03\0\0\0\x01\0\0\0\xff\xff\xff\xff",
        b"\x01\x03\0\0\0\0\0\0\0",
    ],
)
def test_damaged_geometries_are_refused(layer: PolygonLayer, tmp_path: Path, wkb: bytes) -> None:
    path = tmp_path / "polygons.parquet"
    write_geoparquet(layer, path)
    whole = pq.read_table(path)["geometry"].to_pylist()
    spoil(path, geometry=pa.array([*whole[:-1], wkb]))
    with pytest.raises(ProductError, match="not polygons in little-endian WKB"):
        read_geoparquet(path)


def test_other_files_are_refused(layer: PolygonLayer, tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    with pytest.raises(ProductError, match="damaged"):
        read_geoparquet(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ProductError, match="damaged"):
        read_geoparquet(path)
    with pytest.raises(ProductError, match="damaged"):
        read_facts(path)
    layer.frame.to_parquet(path)
    with pytest.raises(ProductError, match="does not have the columns"):
        read_geoparquet(path)
    write_geoparquet(layer, path)
    spoil(path, model=pa.array(["corine-unet-v1"] * (len(layer) - 1) + ["corine-unet-v2"]))
    with pytest.raises(ProductError, match="several products or models"):
        read_geoparquet(path)


def test_a_missing_folder_is_named(layer: PolygonLayer, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="absent"):
        write_geoparquet(layer, tmp_path / "absent" / "polygons.parquet")


def test_a_full_disk_keeps_the_earlier_file(layer: PolygonLayer, tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    write_geoparquet(replace(layer, model="corine-unet-v0"), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreUnavailableError, match="disk has room"):
            write_geoparquet(layer, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
