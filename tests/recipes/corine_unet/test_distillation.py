"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

import torch

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.training.network import UNet, predict
from earthsignature_assets.training.optimisation import train
from recipes.corine_unet import distillation
from recipes.corine_unet.distillation import class_probabilities, soft_labels
from tests.small_training import CODES, QUIET, RECIPE, TINY, samples


def _network(seed: int) -> UNet:
    torch.manual_seed(seed)
    network: UNet = UNet(TINY, [7.0] * 10, [1.0] * 10).eval()
    return network


def _noisy(level: str, seed: int = 0) -> Sample:
    image = np.random.default_rng(seed).integers(600, 4000, (10, 30, 45)).astype(np.uint16)
    return Sample("noisy", "made", level, "", image, np.zeros((30, 45), np.uint16), 0.0, 0.0)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_soft_labels_are_probabilities_on_the_sample_s_own_pixels(level: str) -> None:
    sample = _noisy(level)
    sample.reflectance[:, :5] = 0
    soft = soft_labels([_network(1), _network(2)], sample)
    assert soft.shape == (8, 30, 45)
    assert soft.dtype == np.float32
    assert not soft[:, :5].any()
    np.testing.assert_allclose(soft[:, 5:].sum(axis=0), 1, rtol=1e-5)


def test_soft_labels_are_the_mean_of_the_networks() -> None:
    sample, networks = _noisy("L2A"), [_network(1), _network(2)]
    one, other = (soft_labels([network], sample) for network in networks)
    np.testing.assert_allclose(soft_labels(networks, sample), (one + other) / 2, atol=1e-6)
    assert np.abs(one - other).max() > 0.01


def test_views_are_rotated_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Average rotated views of a network that predicts from the pixel's value: the mean equals one view."""
    sample = _noisy("L2A")
    monkeypatch.setattr(distillation, "_views", lambda sample: iter([sample.reflectance] * 8))

    def by_value(_: UNet, image: np.ndarray) -> np.ndarray:
        return np.stack([image[band] / 65535 for band in range(8)]).astype(np.float32)

    monkeypatch.setattr(distillation, "class_probabilities", by_value)
    soft = soft_labels([_network(1)], sample)
    np.testing.assert_allclose(soft, by_value(_network(1), sample.reflectance), atol=1e-6)


def test_an_image_of_any_size_keeps_its_size_and_its_classes() -> None:
    network, image = _network(3), np.full((10, 64, 64), 900, np.uint16)
    soft = class_probabilities(network, image)
    np.testing.assert_array_equal(soft.argmax(axis=0) + 1, predict(network, image[None])[0])
    assert class_probabilities(network, image[:, :33, :50]).shape == (8, 33, 50)


def test_a_pixel_without_a_label_gets_the_class_of_the_teachers() -> None:
    forest, water = samples()
    soft = np.zeros((8, 64, 64), np.float32)
    soft[7] = 1
    half = water.codes.copy()
    half[:, :8], half[:, 8:] = 512, 0
    # The unlabelled part is as bright as nothing else: only soft labels say what it is.
    water.reflectance[:, :, 8:] = 900
    taught = [replace(forest, soft_labels=np.zeros_like(soft)), replace(water.with_codes(half), soft_labels=soft)]
    network, _ = train(taught, replace(RECIPE, epochs=60, batch=4), TINY, QUIET, "test", classes=CODES)
    assert (predict(network, water.reflectance[None])[0, :, 16:] == 8).mean() > 0.9
