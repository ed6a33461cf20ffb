import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.masks import scene_classification
from earthsignature_assets.imagery.masks.scene_classification import (
    MASK_SETS,
    SceneMask,
    grow,
    mask_scene,
    mask_set_named,
)


def test_figures_are_of_the_valid_area_before_dilation() -> None:
    scl = np.full((100, 100), 4, np.uint8)
    scl[:, :50] = 0
    scl[20:30, 70:80] = 9
    scl[40:45, 70:80] = 3
    mask = mask_scene(scl)
    valid = 100 * 48  # two columns of 20 m are eroded at the swath's edge
    assert mask.no_data[:, :52].all()
    assert not mask.no_data[:, 52:].any()
    assert mask.cloud_percent == pytest.approx(100 * 100 / valid)
    assert mask.shadow_percent == pytest.approx(100 * 50 / valid)
    assert mask.valid_percent == pytest.approx(48)


def test_clouds_grow_by_a_hundred_metres_in_every_direction() -> None:
    scl = np.full((41, 41), 4, np.uint8)
    scl[20, 20] = 8
    unreliable = mask_scene(scl).unreliable
    assert unreliable[15, 20]
    assert unreliable[20, 25]
    assert not unreliable[14, 20]
    assert not unreliable[16, 16]  # 113 m away


@pytest.mark.parametrize("value", [8, 9, 10, 3, 12, 200])
def test_cloud_shadow_and_values_that_do_not_exist_are_unreliable(value: int) -> None:
    scl = np.full((30, 30), 5, np.uint8)
    scl[10:20, 10:20] = value
    assert mask_scene(scl).unreliable[10:20, 10:20].all()


@pytest.mark.parametrize("value", [2, 4, 5, 6, 7, 11])
def test_ground_water_and_snow_are_clear(value: int) -> None:
    assert not mask_scene(np.full((30, 30), value, np.uint8)).unreliable.any()


def test_growing_by_less_than_a_pixel_changes_nothing() -> None:
    mask = np.eye(5, dtype=np.uint8)
    assert np.array_equal(grow(mask, 5.0, 20.0), mask)


@pytest.mark.parametrize(
    ("name", "baseline", "hidden"),
    [
        ("clouds", (5, 11), {3, 8, 9, 10}),
        ("clouds-and-snow", (5, 11), {3, 8, 9, 10, 11}),
        ("dense-clouds", (5, 11), {3, 8, 9}),
        # Class 2 is shadow cast by terrain since baseline 04.00, and was any dark ground before.
        ("strict", (5, 11), {2, 3, 7, 8, 9, 10, 11}),
        ("strict", (4, 0), {2, 3, 7, 8, 9, 10, 11}),
        ("strict", (3, 1), {3, 7, 8, 9, 10, 11}),
    ],
)
def test_each_mask_set_hides_its_classes(name: str, baseline: tuple[int, int], hidden: set[int]) -> None:
    found = {
        value
        for value in range(2, 12)
        if mask_scene(np.full((30, 30), value, np.uint8), 20.0, MASK_SETS[name], baseline).unreliable.any()
    }
    assert found == hidden


@pytest.mark.parametrize("name", list(MASK_SETS))
def test_every_mask_set_hides_values_that_do_not_exist(name: str) -> None:
    assert mask_scene(np.full((30, 30), 12, np.uint8), 20.0, MASK_SETS[name]).unreliable.all()


def by_definition(scl: np.ndarray, name: str, baseline: tuple[int, int]) -> SceneMask:
    """Reimplement `mask_scene` at 20 m in plain numpy: sets of values, shifted copies for the discs."""

    def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        padded, grown = np.pad(mask, radius), np.zeros_like(mask)
        for y, x in np.argwhere(disc):
            grown |= padded[y : y + mask.shape[0], x : x + mask.shape[1]]
        return grown

    def percent(part: np.ndarray, whole: int) -> float:
        return 100.0 * int(part.sum()) / whole if whole else 0.0

    no_data = dilated(scl == 0, 2) | (scl == 1)
    hidden = (np.isin(scl, MASK_SETS[name].values_of(baseline)) | (scl > 11)) & ~no_data
    unreliable = dilated(hidden, 5) & ~no_data
    valid = int((~no_data).sum())
    return SceneMask(
        np.where(no_data, 2, unreliable).astype(np.uint8),
        percent((np.isin(scl, (8, 9, 10)) | (scl > 11)) & ~no_data, valid),
        percent((scl == 3) & ~no_data, valid),
        percent((scl == 11) & ~no_data, valid),
        percent(~no_data, scl.size),
        percent(~no_data & ~unreliable, scl.size),
    )


@settings(max_examples=60, deadline=None)
@given(
    scl=arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 14), fill=st.just(4)
    ),
    name=st.sampled_from(list(MASK_SETS)),
    baseline=st.sampled_from([(3, 1), (5, 11)]),
    rows_at_once=st.integers(1, 40),
)
def test_masks_and_figures_are_those_of_the_definition(
    scl: np.ndarray, name: str, baseline: tuple[int, int], rows_at_once: int
) -> None:
    expected = by_definition(scl, name, baseline)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_classification, "_ROWS_AT_ONCE", rows_at_once)
        found = mask_scene(scl, 20.0, MASK_SETS[name], baseline)
    for field in dataclasses.fields(SceneMask):
        told, wanted = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(wanted, np.ndarray):
            assert told.dtype == np.uint8
            assert np.array_equal(told, wanted), field.name
        else:
            assert told == pytest.approx(wanted, abs=1e-9), field.name


def test_an_unknown_mask_set_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="clouds-and-snow"):
        mask_set_named("fog")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_real_classifications_agree_with_the_providers_figures(real_data: Path) -> None:
    paths = sorted((real_data / "stac_e84_33TWL_33TWM_202308").glob("*/*/SCL.tif"))
    for path in paths:
        stated = json.loads(path.with_name(f"{path.parent.name}.json").read_text())["properties"]
        with rasterio.open(path) as dataset:
            mask = mask_scene(dataset.read(1), resolution_m=120.0)
        # The classification here is a lossy copy at 120 m.
        assert mask.cloud_percent == pytest.approx(stated["eo:cloud_cover"], abs=2.5)
        assert mask.shadow_percent == pytest.approx(stated["s2:cloud_shadow_percentage"], abs=0.5)
        assert mask.valid_percent == pytest.approx(100 - stated["s2:nodata_pixel_percentage"], abs=0.1)
    assert len(paths) == 6


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_values_that_do_not_exist_are_masked_in_a_real_classification(real_data: Path) -> None:
    (path,) = (real_data / "stac_e84_33TWL_33TWM_202308").glob("*/S2A_33TWL_20230818_0_L2A/SCL.tif")
    with rasterio.open(path) as dataset:
        classification = dataset.read(1)
    beyond = classification > 11  # the lossy copy holds some 12
    mask = mask_scene(classification, resolution_m=120.0)
    assert beyond.any()
    assert (mask.unreliable | mask.no_data)[beyond].all()
    assert (mask.unreliable & beyond).any()
