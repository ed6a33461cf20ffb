import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet, write_geoparquet
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.validation import validate_files

FILES = [asset for asset in Asset if asset is not Asset.ITEM]


@pytest.fixture
def draft(tmp_path: Path, finished_drafts: Callable[..., Draft]) -> Draft:
    """Make a draft whose files the test may damage."""
    shutil.copytree(finished_drafts().folder, tmp_path / "draft")
    return Draft.load(tmp_path / "draft")


def rewrite(path: Path, values: np.ndarray | None = None, **changed: Any) -> None:
    with rasterio.open(path) as raster:
        profile = raster.profile | {"driver": "GTiff"} | changed
        values = raster.read(1) if values is None else values
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values.astype(profile["dtype"]), 1)


def test_a_valid_draft_yields_its_areas(draft: Draft) -> None:
    with rasterio.open(draft.path(Asset.LAND_COVER)) as raster:
        codes = raster.read(1)
    areas = validate_files(draft, draft.folder)
    assert areas.raster_m2 == {int(code): 100.0 * (codes == code).sum() for code in np.unique(codes) if code}
    drawn = gpd.read_parquet(draft.path(Asset.POLYGONS))
    assert areas.polygons_m2 == drawn.groupby("code")["area_m2"].sum().to_dict()


@pytest.mark.parametrize("asset", FILES)
def test_a_missing_file_is_named(draft: Draft, asset: Asset) -> None:
    draft.path(asset).unlink()
    with pytest.raises(ProductError, match=f"{asset.value} is missing"):
        validate_files(draft, draft.folder)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # the reader's, before our refusal
@pytest.mark.parametrize("part", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("asset", FILES)
def test_a_truncated_file_is_named(draft: Draft, asset: Asset, part: float) -> None:
    content = draft.path(asset).read_bytes()
    draft.path(asset).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ProductError, match=asset.value):
        validate_files(draft, draft.folder)


@pytest.mark.parametrize("asset", [Asset.LAND_COVER, Asset.CONFIDENCE, Asset.CLOUD_MASK])
def test_a_raster_off_its_grid_is_named(draft: Draft, asset: Asset) -> None:
    with rasterio.open(draft.path(asset)) as raster:
        moved = raster.transform @ rasterio.Affine.translation(1, 0)
    rewrite(draft.path(asset), transform=moved)
    with pytest.raises(ProductError, match=f"{asset.value} is off its grid: transform"):
        validate_files(draft, draft.folder)


def test_another_projection_is_named(draft: Draft) -> None:
    rewrite(draft.path(Asset.LAND_COVER), crs=rasterio.CRS.from_epsg(32633))
    with pytest.raises(ProductError, match="CRS is EPSG:32633, expected EPSG:32632"):
        validate_files(draft, draft.folder)


def test_a_land_cover_without_a_no_data_value_is_refused(draft: Draft) -> None:
    rewrite(draft.path(Asset.LAND_COVER), nodata=None)
    with pytest.raises(ProductError, match="no data is None, expected 0"):
        validate_files(draft, draft.folder)


@pytest.mark.parametrize(
    ("asset", "value", "message"),
    [
        (Asset.LAND_COVER, 110, r"holds \[110\]"),
        (Asset.LAND_COVER, 0, "no data at other pixels"),
        (Asset.CONFIDENCE, 101, "above 100"),
        (Asset.CLOUD_MASK, 2, "other values than 0 and 1"),
    ],
)
def test_invalid_values_are_named(draft: Draft, asset: Asset, value: int, message: str) -> None:
    with rasterio.open(draft.path(asset)) as raster:
        values = raster.read(1)
    values[2, -2] = value  # inside the swath
    rewrite(draft.path(asset), values)
    with pytest.raises(ProductError, match=message):
        validate_files(draft, draft.folder)


def respoil(draft: Draft, **changed: Any) -> None:
    """Write other polygons with the matching message."""
    layer = replace(read_geoparquet(draft.path(Asset.POLYGONS)), **changed)
    write_geoparquet(layer, draft.path(Asset.POLYGONS))
    draft.path(Asset.GEOBUF).write_bytes(encode_feature_collection(layer))


def test_polygons_of_another_model_are_refused(draft: Draft) -> None:
    respoil(draft, model="corine-unet-v9")
    with pytest.raises(ProductError, match="another product or model"):
        validate_files(draft, draft.folder)


def test_polygons_of_classes_that_the_raster_lacks_are_refused(draft: Draft) -> None:
    codes = read_geoparquet(draft.path(Asset.POLYGONS)).codes.copy()
    codes[0] = 523
    respoil(draft, codes=codes)
    with pytest.raises(ProductError, match=r"classes that the land cover does not: \[523\]"):
        validate_files(draft, draft.folder)


def test_invalid_polygons_are_counted(draft: Draft) -> None:
    layer = read_geoparquet(draft.path(Asset.POLYGONS))
    coordinates = layer.coordinates.copy()
    first, last = layer.ring_offsets[:2]
    np.random.default_rng(0).shuffle(coordinates[first + 1 : last - 1])  # the first polygon crosses itself
    respoil(draft, coordinates=coordinates)
    with pytest.raises(ProductError, match="holds 1 invalid polygons"):
        validate_files(draft, draft.folder)


def test_geobuf_must_hold_the_same_polygons(draft: Draft) -> None:
    layer = read_geoparquet(draft.path(Asset.POLYGONS))
    write_geoparquet(replace(layer, areas_m2=layer.areas_m2 + 100), draft.path(Asset.POLYGONS))
    with pytest.raises(ProductError, match=r"polygons\.geobuf does not hold"):
        validate_files(draft, draft.folder)


def test_the_draft_decides_the_grid(draft: Draft) -> None:
    other = replace(draft, grid=replace(draft.grid, width=draft.grid.width + 1))
    with pytest.raises(ProductError, match="shape is"):
        validate_files(other, draft.folder)
