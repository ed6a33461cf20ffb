"""Drift: reports of scenes unlike the training data, and of class shares unlike the tile's history."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from earthsignature_assets.assets.checks.drift import check_history, check_input
from earthsignature_assets.errors import ModelError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.input_range import InputRange, input_range
from earthsignature_assets.models.repository import ModelDescription, shipped_repository

GENERATOR = np.random.default_rng(0)
TRAINING = GENERATOR.normal(1500, 300, (10, 200, 200)).clip(1).astype(np.uint16)
RANGE = InputRange.from_json(input_range([("L2A", TRAINING)])["L2A"])
KNOWN = dataclasses.replace(shipped_repository().describe(ModelVersion("corine-unet", 1)), training_range=RANGE)


def scene(shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(1).normal(1500, 300, (10, 5000)) + shift).clip(1).astype(np.uint16)


def test_the_range_is_that_of_the_middle_of_the_training_pixels() -> None:
    assert RANGE.pixels == 200 * 200
    for band in RANGE.bands:
        assert band.low == pytest.approx(1500 - 2.576 * 300, abs=25)
        assert band.median == pytest.approx(1500, abs=10)
        assert band.high == pytest.approx(1500 + 2.576 * 300, abs=25)
    below, above = RANGE.outside(TRAINING.reshape(10, -1))
    assert below.max() + above.max() == pytest.approx(0.01, abs=0.003)


def test_no_data_is_excluded_from_the_range_and_levels_are_separate() -> None:
    image = np.zeros((10, 4, 4), np.uint16)
    image[:, 0, 0] = 800
    found = input_range([("L2A", image), ("L1C", image + 400), ("L2A", image)])
    assert (found["L2A"]["pixels"], found["L1C"]["pixels"]) == (2, 16)
    assert found["L2A"]["bands"][0][:2] == [800.0, 800.0]


def test_a_scene_like_the_training_data_passes() -> None:
    finding = check_input(scene(), KNOWN)
    assert finding.passed
    assert finding.warns
    assert float(finding.figures["B04_outside_percent"]) < 3


@pytest.mark.parametrize(
    ("shift", "word", "cause"), [(1000, "above", "offset that was not"), (-1000, "below", "twice")]
)
def test_a_scene_with_a_wrong_offset_is_reported_with_band_side_and_cause(shift: int, word: str, cause: str) -> None:
    finding = check_input(scene(shift), KNOWN)
    assert not finding.passed
    assert finding.warns, "it stops nothing"
    assert "corine-unet-v1" in finding.message
    assert f"mostly {word}" in finding.message
    assert cause in finding.message
    assert "Look at the picture" in finding.message


def test_one_band_alone_is_named() -> None:
    pixels = scene()
    pixels[4] += 900
    finding = check_input(pixels, KNOWN)
    assert not finding.passed
    assert "B06" in finding.message
    assert "B05 " not in finding.message


def test_a_model_without_a_range_passes_with_a_message() -> None:
    finding = check_input(scene(5000), dataclasses.replace(KNOWN, training_range=None))
    assert finding.passed
    assert "the training range of corine-unet-v1 is not known" in finding.message
    assert check_input(np.empty((10, 0), np.uint16), KNOWN).passed


def test_the_range_travels_in_the_description() -> None:
    assert ModelDescription.from_json(KNOWN.to_json()) == KNOWN
    content = json.loads(KNOWN.to_json())
    content["training_range"]["bands"].pop()
    with pytest.raises(ModelError, match="one range a band"):
        ModelDescription.from_json(json.dumps(content))
    del content["training_range"]["bands"]
    with pytest.raises(ModelError, match=r"model\.json cannot be read"):
        ModelDescription.from_json(json.dumps(content))


def test_the_compared_pixels_are_clear_ones_of_the_whole_scene(deployment: Any) -> None:
    store = PatchStore(deployment.workspace.patches(SceneKey.parse("2026-05-01_R022_T32TQM")))
    pixels = store.clear_overview()
    step = store.overview_step
    hidden = (store.no_data() | store.unreliable())[::step, ::step]
    assert pixels.shape == (10, np.count_nonzero(~hidden))
    assert np.array_equal(pixels[2], store.reflectance(slice(None))[2, ::step, ::step][~hidden])


USUAL = [{211: 50.0, 313: 40.0, 512: 10.0}, {211: 55.0, 313: 37.0, 512: 8.0}, {211: 44.0, 313: 46.0, 512: 10.0}]


def test_shares_within_the_history_of_the_tile_pass() -> None:
    finding = check_history({211: 520.0, 313: 390.0, 512: 90.0}, USUAL)
    assert finding.passed
    assert finding.figures["products"] == 3


@pytest.mark.parametrize(
    ("areas", "code"), [({211: 20.0, 313: 40.0, 335: 40.0}, 335), ({211: 10.0, 313: 49.0, 512: 14.0}, 211)]
)
def test_a_class_beyond_the_history_is_named(areas: dict[int, float], code: int) -> None:
    finding = check_history(areas, USUAL)
    assert not finding.passed
    assert finding.warns
    assert finding.figures["furthest_class"] == code
    assert "tile's last 3 products" in finding.message


def test_a_short_history_passes() -> None:
    finding = check_history({335: 1.0}, USUAL[:2])
    assert finding.passed
    assert "3 are needed" in finding.message
    assert check_history({}, USUAL).passed
