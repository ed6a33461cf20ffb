from pathlib import Path

import cv2
import numpy as np
import pytest

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.masks import cloud_model
from earthsignature_assets.imagery.masks.scene_classification import LAND_VALUE

SHADOW, CLOUD = 3, 9


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("factor", "cloud", "shadow"), [(1, 0.74, 0.68), (2, 0.72, 0.68)])
def test_the_model_agrees_with_people_on_its_authors_patch(
    real_data: Path, factor: int, cloud: float, shadow: float
) -> None:
    pytest.importorskip("ukis_csmask")
    patch = np.load(real_data / "ukis_csmask_testpatch" / "sentinel2.npz")
    side = 512 // factor
    image = np.moveaxis(cv2.resize(patch["img"], (side, side), interpolation=cv2.INTER_AREA), -1, 0)
    classes = cloud_model.classify(image, np.zeros((side, side), bool))
    found = np.kron(classes, np.ones((factor, factor), np.uint8))
    labels = patch["msk"].squeeze()
    truth = np.where(labels == 4, CLOUD, np.where(labels == 0, SHADOW, LAND_VALUE))
    assert (found == truth).mean() > 0.89
    assert intersection_over_union(found == CLOUD, truth == CLOUD) > cloud
    assert intersection_over_union(found == SHADOW, truth == SHADOW) > shadow


def test_unobserved_pixels_are_no_data() -> None:
    pytest.importorskip("ukis_csmask")
    no_data = np.zeros((40, 50), bool)
    no_data[:, :10] = True
    classes = cloud_model.classify(np.full((6, 40, 50), 0.1, np.float32), no_data)
    assert np.array_equal(classes == 0, no_data)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ukis_csmask.mask", None)
    with pytest.raises(ConfigurationError, match=r"earthsignature\[cloud\]"):
        cloud_model.classify(np.zeros((6, 4, 4), np.float32), np.zeros((4, 4), bool))
