import resource
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet
from earthsignature_assets.products.polygons.polygon_export import ExportFormat, export_polygons
from earthsignature_assets.products.product import Asset

READ_BACK = [form for form in ExportFormat if form not in (ExportFormat.PMTILES, ExportFormat.GEOPARQUET)]


@pytest.fixture(scope="module")
def source(finished_drafts: Callable[..., Draft]) -> Path:
    return finished_drafts().path(Asset.POLYGONS)


@pytest.mark.parametrize("form", READ_BACK, ids=lambda form: form.name)
def test_other_programs_read_the_same_polygons(source: Path, tmp_path: Path, form: ExportFormat) -> None:
    path = tmp_path / f"polygons{form.suffix}"
    layer = read_geoparquet(source)
    assert export_polygons(source.read_bytes(), path, form) == len(layer)
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["land_cover"]
    frame = gpd.read_file(path)
    assert frame.crs == "EPSG:4326"

    # FlatGeobuf orders its features along a curve, GeoJSON has seven decimals.
    def facts(of: gpd.GeoDataFrame) -> list[tuple[object, ...]]:
        boxes = np.round(shapely.bounds(of.geometry.to_numpy()), 4).tolist()
        columns = (
            of[name].tolist() for name in ("code", "name", "level_1", "level_2", "area_m2", "product_id", "model")
        )
        return sorted(zip(*columns, map(tuple, boxes), strict=True))

    assert facts(frame) == facts(layer.frame)
    assert sorted(frame["mean_confidence"].round(1)) == pytest.approx(sorted(layer.mean_confidence))
    assert shapely.get_num_coordinates(frame.geometry.to_numpy()).sum() == len(layer.coordinates)


def test_tiles_for_web_maps(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "polygons.pmtiles"
    export_polygons(source.read_bytes(), path, ExportFormat.PMTILES)
    facts = pyogrio.read_info(path)
    assert (facts["dataset_metadata"]["minzoom"], facts["dataset_metadata"]["maxzoom"]) == ("8", "13")
    frame = gpd.read_file(path)
    assert set(frame["code"]) == set(read_geoparquet(source).codes)


def test_geoparquet_is_the_file_itself(source: Path, tmp_path: Path) -> None:
    export_polygons(source.read_bytes(), tmp_path / "polygons.parquet", ExportFormat.GEOPARQUET)
    assert (tmp_path / "polygons.parquet").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("form", ExportFormat, ids=lambda form: form.name)
def test_damaged_polygons_leave_nothing(source: Path, tmp_path: Path, form: ExportFormat) -> None:
    with pytest.raises(ProductError, match="damaged"):
        export_polygons(source.read_bytes()[:-100], tmp_path / f"polygons{form.suffix}", form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ExportFormat, ids=lambda form: form.name)
def test_a_full_disk_keeps_the_earlier_file(source: Path, tmp_path: Path, form: ExportFormat) -> None:
    path = tmp_path / f"polygons{form.suffix}"
    path.write_bytes(b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(StoreUnavailableError, match="cannot be written"):
            export_polygons(source.read_bytes(), path, form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"earlier"


def test_a_missing_folder_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="absent"):
        export_polygons(source.read_bytes(), tmp_path / "absent" / "a.fgb", ExportFormat.FLATGEOBUF)
