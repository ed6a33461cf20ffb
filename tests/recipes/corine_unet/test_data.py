from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.nomenclature import class_of
from recipes.corine_unet.data import (
    CLASSES,
    EUROSAT_CODES,
    HATEG_CODES,
    LabelledScene,
    polygon_samples,
    read_eurosat,
    read_hateg,
)


def test_every_label_maps_to_a_claimed_class_or_void() -> None:
    claimed = {class_of(entry.code).code for entry in CLASSES}
    assert {*EUROSAT_CODES.values(), *HATEG_CODES.values()} - {0} == claimed


def _scene() -> LabelledScene:
    polygons = np.zeros((60, 80), np.uint16)
    polygons[5:15, 5:15] = 1
    polygons[5:15, 18:28] = 2
    polygons[40:50, 60:70] = 3
    reflectance = np.full((10, 60, 80), 1000, np.uint16)
    return LabelledScene("scene", reflectance, polygons, ("forest", "water", "forest"), (313, 512, 313), 23.0, 45.9)


def test_polygon_samples_hold_nothing_of_the_held_out_polygons() -> None:
    samples = polygon_samples(_scene(), (1, 3))
    assert [sample.label for sample in samples] == ["forest", "forest"]
    first = samples[0]
    assert np.unique(first.codes).tolist() == [0, 313]
    assert (first.reflectance[:, 5:15, 18:28] == 0).all()
    assert np.count_nonzero(first.reflectance[0] == 0) == 100


def test_codes_are_those_of_the_requested_polygons() -> None:
    codes = _scene().codes((2,))
    assert np.unique(codes).tolist() == [0, 512]
    assert np.count_nonzero(codes) == 100


def test_a_folder_without_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="no EuroSAT patch"):
        read_eurosat(tmp_path)


def test_a_patch_with_other_bands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Forest").mkdir()
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 3, "dtype": "uint16", "crs": "EPSG:32634"}
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 5000000)
    with rasterio.open(tmp_path / "Forest" / "Forest_1.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(np.ones((3, 4, 4), np.uint16))
    with pytest.raises(GroundTruthError, match="expected 13 bands"):
        read_eurosat(tmp_path)


def test_b8a_is_taken_from_the_last_band(tmp_path: Path) -> None:
    (tmp_path / "River").mkdir()
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 13, "dtype": "uint16", "crs": "EPSG:32634"}
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 5000000)
    with rasterio.open(tmp_path / "River" / "River_1.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(np.arange(1, 14, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16))
    (sample,) = read_eurosat(tmp_path)
    assert sample.reflectance[:, 0, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 13, 11, 12]
    assert (sample.codes == 512).all()


def test_a_scene_without_bands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="cannot be read"):
        read_hateg(tmp_path)


def test_the_real_scene_has_its_polygons(hateg_folder: Path) -> None:
    scene = read_hateg(hateg_folder)
    assert scene.reflectance.shape == (10, 907, 797)
    assert (scene.reflectance > 0).all()
    assert len(scene.labels) == 59
    sizes: Counter[str] = Counter()
    for number, label in enumerate(scene.labels, 1):
        sizes[label] += int((scene.polygons == number).sum())
    assert sizes == {"construction": 3958, "pasture": 3411, "agriculture": 6531, "forest": 5374, "water": 1669}
