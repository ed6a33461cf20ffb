from pathlib import Path

import numpy as np
import pytest

from earthsignature_assets.errors import ModelError
from earthsignature_assets.ground_truth.samples import Sample, class_set
from recipes.corine_unet.data import CLASS_CODES, EUROSAT_CODES, read_eurosat
from recipes.corine_unet.teacher import COVERS, DynamicWorld, refine, supplement


def _patch(label: str) -> Sample:
    codes = np.full((1, 3), EUROSAT_CODES[label], np.uint16)
    return Sample(label, "EuroSAT", "L1C", label, np.ones((10, 1, 3), np.uint16), codes, 0.0, 0.0)


def _covers(*pixels: tuple[str, float]) -> np.ndarray:
    """Create probabilities of three pixels: one cover each at the given probability, the rest divided equally."""
    covers = np.zeros((len(COVERS), 1, 3), np.float32)
    for column, (cover, probability) in enumerate(pixels):
        covers[:, 0, column] = (1 - probability) / (len(COVERS) - 1)
        covers[COVERS.index(cover), 0, column] = probability
    return covers


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("River", [512, 0, 313]),
        ("SeaLake", [512, 0, 0]),
        ("Forest", [0, 0, 313]),
        ("Residential", [512, 112, 0]),
        ("Highway", [512, 0, 313]),
        ("PermanentCrop", [0, 0, 222]),
    ],
)
def test_the_teacher_removes_labels_and_adds_sure_covers(label: str, expected: list[int]) -> None:
    refined = refine(_patch(label), _covers(("water", 0.9), ("built", 0.5), ("trees", 0.8)))
    assert refined.codes[0].tolist() == expected


def test_a_cover_that_is_not_sure_names_no_class() -> None:
    refined = refine(_patch("Highway"), _covers(("water", 0.5), ("crops", 0.5), ("trees", 0.5)))
    assert refined.codes[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Forest", [(512,), (112, 121), (222, 313)]),
        ("Residential", [(512,), (112, 121), (222, 313, 112)]),
        ("Highway", [(512,), (112, 121), (222, 313)]),
    ],
)
def test_the_teacher_allows_classes_where_it_is_fairly_sure(label: str, expected: list[tuple[int, ...]]) -> None:
    patch = _patch(label)
    blank = patch.with_codes(np.zeros_like(patch.codes))
    covers = _covers(("water", 0.9), ("built", 0.5), ("trees", 0.8))
    weak = supplement(blank, covers).weak
    assert weak is not None
    assert weak[0].tolist() == [class_set(*codes, among=CLASS_CODES) for codes in expected]
    added = supplement(patch, covers).weak
    assert added is not None
    assert added[0].tolist() == [0 if code else w for code, w in zip(patch.codes[0], weak[0], strict=True)]
    unsure = supplement(blank, _covers(("water", 0.4), ("built", 0.4), ("snow_and_ice", 0.9))).weak
    assert unsure is not None
    assert unsure[0].tolist() == [0, 0, 0]


def test_an_absent_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="teacher"):
        DynamicWorld(tmp_path / "absent.onnx")


def test_the_real_teacher_knows_water_and_trees(eurosat_folder: Path, dynamic_world: Path) -> None:
    teacher = DynamicWorld(dynamic_world)
    for patch in read_eurosat(eurosat_folder):
        if patch.name in {"Forest_1", "SeaLake_1"}:
            covers = teacher.covers(patch.reflectance)
            np.testing.assert_allclose(covers.sum(axis=0), 1, atol=1e-4)
            assert (refine(patch, covers).codes == EUROSAT_CODES[patch.label]).mean() > 0.95
