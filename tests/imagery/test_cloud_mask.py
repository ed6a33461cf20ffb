import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.imagery.cloud_mask import CloudPolicy, SceneMask, grow, judge, mask_scene
from earthsignature_assets.keys import SceneKey

KEY = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")


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
    mask = np.eye(5, dtype=bool)
    assert np.array_equal(grow(mask, 5.0, 20.0), mask)


def figures(cloud: float, valid: float, clear: float) -> SceneMask:
    nothing = np.zeros((1, 1), bool)
    return SceneMask(nothing, nothing, cloud, 0.0, 0.0, valid, clear)


@pytest.mark.parametrize(
    ("mask", "accepted", "reason"),
    [
        (figures(10, 100, 88), True, "88.0 % of the tile is clear"),
        (figures(61, 100, 30), False, "cloud covers 61.0 %"),
        (figures(0, 4, 4), False, "only 4.0 % of the tile is clear"),
        (figures(0, 0, 0), False, "no data everywhere"),
    ],
)
def test_a_verdict_has_its_reason(mask: SceneMask, accepted: bool, reason: str) -> None:
    verdict = judge(KEY, "S2B_MSIL2A", mask, CloudPolicy(), 1.0)
    assert verdict.accepted is accepted
    assert reason in verdict.reason


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
