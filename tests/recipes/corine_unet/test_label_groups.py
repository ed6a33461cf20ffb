import numpy as np
import pytest

from earthsignature_assets.ground_truth.samples import Sample
from recipes.corine_unet.data import LabelledScene
from recipes.corine_unet.label_groups import judge_patches, judge_polygons


def _patch(label: str, codes: np.ndarray) -> Sample:
    return Sample(label, "EuroSAT", "L1C", label, np.ones((10, *codes.shape), np.uint16), codes, 0.0, 0.0)


def test_patches_count_by_majority_and_rivers_by_their_water() -> None:
    forest = _patch("Forest", np.array([[313, 313], [313, 0]], np.uint16))
    river = _patch("River", np.array([[512, 0], [0, 313]], np.uint16))
    road = _patch("Highway", np.array([[0, 0], [0, 313]], np.uint16))
    answers = [
        np.array([[313, 211], [211, 211]], np.uint16),
        np.array([[512, 313], [313, 313]], np.uint16),
        np.array([[313, 313], [313, 313]], np.uint16),
    ]
    labels = {"Forest": 313, "River": 512, "Highway": 0}
    figures = judge_patches([forest, river, road], answers, labels, (211, 313, 512))
    assert figures["pixels"]["counts"] == [[0, 0, 0], [2, 1, 0], [0, 0, 1]]
    assert figures["patches"]["counts"] == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_only_the_requested_polygons_count_in_groups() -> None:
    polygons = np.array([[1, 1, 2, 2], [3, 3, 0, 0]], np.uint16)
    reflectance = np.ones((10, 2, 4), np.uint16)
    reflectance[:, 1, 3] = 0
    scene = LabelledScene("s", reflectance, polygons, ("pasture", "forest", "forest"), (231, 313, 313), 0.0, 0.0)
    predicted = np.array([[321, 211, 313, 231], [512, 512, 313, 512]], np.uint16)
    figures = judge_polygons(scene, (1, 2), predicted, (211, 231, 313, 321, 512))
    assert figures["pixels"]["total"] == 4
    assert figures["pixels"]["overall_accuracy"] == 0.25
    assert figures["pixels_grouped"]["overall_accuracy"] == 0.5
    assert figures["polygons_grouped"]["total"] == 2
    assert figures["share"]["512"] == pytest.approx(2 / 7, abs=1e-4)
