from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from earthsignature_assets.imagery.reading.radiometry import harmonise, no_data_of, reflectance


def band(*values: int) -> np.ndarray:
    return np.array([values], np.uint16)


@given(dn=st.integers(1, 65535), offset=st.sampled_from([0, -1000]))
def test_the_offset_is_added_once_and_an_observation_never_becomes_no_data(dn: int, offset: int) -> None:
    assert reflectance(band(dn), offset)[0, 0] == max(1, dn + offset)


def test_both_offset_conventions_give_one_reflectance() -> None:
    assert np.array_equal(reflectance(band(1200, 3000), -1000), reflectance(band(200, 2000), 0))


def test_the_swaths_stray_ones_are_no_data() -> None:
    assert no_data_of(np.stack([band(0, 1, 1, 500), band(0, 1, 0, 1)]), [0, 0]).tolist() == [[True, True, True, False]]


def test_zero_is_dark_ground_only_where_no_offset_is_left() -> None:
    stack = np.stack([band(500), band(0)])
    for offsets, no_data in (([0, 0], False), ([-1000, -1000], True), ([-1000, 0], False), ([0, -1000], True)):
        assert no_data_of(stack, offsets).tolist() == [[no_data]]


def test_no_data_is_found_before_the_offset_is_added() -> None:
    dn = np.random.default_rng(2).integers(0, 3, (3, 200, 7), np.uint16) * np.uint16(900)
    stack, offsets = dn.copy(), [-1000, 0, 500]
    no_data = harmonise(stack, offsets)
    assert np.array_equal(no_data, (dn[0] == 0) | (dn <= 1).all(axis=0))
    for found, numbers, offset in zip(stack, dn.astype(int), offsets, strict=True):
        assert np.array_equal(found, np.maximum(numbers + offset, 1))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_stray_ones_at_a_real_swaths_edge_are_no_data(real_data: Path) -> None:
    folder = real_data / "stac_e84_33TWL_33TWM_202308" / "sentinel-2-l2a" / "S2A_33TWM_20230815_0_L2A"
    layers = []
    for band in ("B02", "B03", "B04", "B08"):
        with rasterio.open(folder / f"{band}.tif") as dataset:
            layers.append(dataset.read(1))
    stack = np.stack(layers)
    outside, stray = (stack == 0).all(axis=0), stack.max(axis=0) == 1
    assert stray.sum() > 100
    assert (cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 1)[stray].mean() > 0.9  # at the edge
    no_data = no_data_of(stack, [0] * 4)  # according to the item the offset is applied
    assert no_data[stray | outside].all()
    assert no_data.mean() == pytest.approx(0.10863982, abs=0.002)  # the item's own figure
