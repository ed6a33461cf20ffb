"""A file that contradicts its item is refused with both values."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from earthsignature_assets.errors import BandError
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.reading.scene_reader import read_blocks
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SimulatedScene


def write_copy(source: str, path: Path, *, factor: int = 1, dtype: str = "", **changes: Any) -> Path:
    """Write a copy of a band: coarser by a factor, of another type, or with another header."""
    with rasterio.open(source) as dataset:
        profile, values = dataset.profile, dataset.read(1)[::factor, ::factor]
        place = dataset.transform
    size = place.a * factor
    profile |= {"driver": "GTiff", "transform": from_origin(place.c, place.f, size, size)}
    profile |= {"height": values.shape[0], "width": values.shape[1], "dtype": dtype or values.dtype}
    scales, offsets = changes.pop("scales", None), changes.pop("offsets", None)
    with rasterio.open(path, "w", **(profile | changes)) as dataset:
        dataset.write(values.astype(profile["dtype"]), 1)
        if scales:
            dataset.scales, dataset.offsets = scales, offsets
    return path


def with_file(scene: Scene, band: str, path: Path) -> Scene:
    part = scene.parts[0]
    bands = {**part.bands, band: dataclasses.replace(part.bands[band], href=str(path))}
    return Scene((dataclasses.replace(part, bands=bands),))


def read(scene: Scene) -> None:
    for _ in read_blocks(scene, S2_BANDS, 512, 512):
        pass


@pytest.mark.parametrize(
    ("band", "changes", "named"),
    [
        ("B02", {"factor": 10}, r"pixel size in metres 100.0, the item says 10.0"),
        ("B05", {"factor": 4}, r"pixel size in metres 80.0, the item says 20.0"),
        ("B05", {"crs": "EPSG:32633"}, r"EPSG code 32633, the item says 32632"),
        ("B05", {"transform": from_origin(699970, 4700040, 20, 20)}, r"grid .*left_m=699970.* says .*left_m=699960"),
        ("B02", {"dtype": "float32"}, r"data type float32, the item says uint16"),
        ("B02", {"nodata": 7}, r"no-data value 7.0, the item says 0.0"),
        ("B02", {"scales": [0.0001], "offsets": [0.05]}, r"offset in digital numbers 500, the item says -1000"),
    ],
)
def test_a_header_that_contradicts_its_item_is_refused_with_both_values(
    scene: Scene, tmp_path: Path, band: str, changes: dict[str, Any], named: str
) -> None:
    path = write_copy(scene.parts[0].bands[band].href, tmp_path / "band.tif", **changes)
    with pytest.raises(BandError, match=rf"band {band} .*{named}"):
        read(with_file(scene, band, path))


def test_a_coarse_file_is_refused_where_the_item_states_no_grid(
    simulated: SimulatedScene, c1: Provider, tmp_path: Path
) -> None:
    key = c1.band_assets["B05"]
    asset = {name: value for name, value in simulated.item["assets"][key].items() if name in ("href", "raster:bands")}
    asset["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    item = scene_item({**simulated.item, "assets": {**simulated.item["assets"], key: asset}}, c1, S2_BANDS)
    assert item.bands["B05"].grid is None
    read(Scene((item,)))
    path = write_copy(item.bands["B05"].href, tmp_path / "band.tif", factor=4)
    with pytest.raises(BandError, match=r"pixel size in metres 80.0, the item says 20.0"):
        read(with_file(Scene((item,)), "B05", path))


def test_a_header_that_repeats_the_item_s_scale_and_offset_is_read(scene: Scene, tmp_path: Path) -> None:
    path = write_copy(scene.parts[0].bands["B02"].href, tmp_path / "band.tif", scales=[0.0001], offsets=[-0.1])
    read(with_file(scene, "B02", path))


def test_the_item_says_what_no_data_is_where_the_file_does_not(scene: Scene, tmp_path: Path) -> None:
    part = scene.parts[0]
    with rasterio.open(part.bands["B02"].href) as dataset:
        values = dataset.read(1).astype(np.int16)
    path = write_copy(part.bands["B02"].href, tmp_path / "band.tif", dtype="int16", nodata=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.where(values == 0, -10000, values).astype(np.int16), 1)
    file = dataclasses.replace(part.bands["B02"], href=str(path), data_type="int16", no_data=-10000.0)
    other = Scene((dataclasses.replace(part, bands={**part.bands, "B02": file}),))
    for one, two in zip(read_blocks(scene, S2_BANDS, 512, 512), read_blocks(other, S2_BANDS, 512, 512), strict=True):
        assert np.array_equal(one.no_data, two.no_data)
        assert np.array_equal(one.reflectance[0], two.reflectance[0])


def test_a_classification_that_contradicts_its_item_is_refused(scene: Scene, tmp_path: Path) -> None:
    part = scene.parts[0]
    assert part.classification is not None
    path = write_copy(part.classification.href, tmp_path / "SCL.tif", factor=4)
    file = dataclasses.replace(part.classification, href=str(path))
    with pytest.raises(BandError, match=r"band SCL .*pixel size in metres 80.0, the item says 20.0"):
        write_patches(Scene((dataclasses.replace(part, classification=file),)), S2_BANDS, tmp_path / "patches.zarr")
