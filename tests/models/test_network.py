"""Tests that need PyTorch, which the test environment does not hold: they run where the extra `train` is."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")
pytest.importorskip("onnx", reason="onnx is absent (the extra `train`)")

import torch
from rich.progress import Progress

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.export import export
from earthsignature_assets.models.ground_truth import CLASSES, Sample
from earthsignature_assets.models.network import Architecture, UNet, measured_reach, predict
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.models.training import Recipe, masked_loss, train

TINY = Architecture(classes=len(CLASSES), width=4, depth=2)


@pytest.mark.parametrize("architecture", [TINY, Architecture(width=4, depth=3), Architecture(width=4, depth=1)])
def test_the_receptive_field_is_that_of_the_formula(architecture: Architecture) -> None:
    network = UNet(architecture, [5.0] * 10, [1.0] * 10)
    assert measured_reach(network) == architecture.reach
    assert architecture.halo % architecture.stride == 0
    assert architecture.halo >= architecture.reach


def _samples() -> list[Sample]:
    values = {313: 3000, 512: 200}
    return [
        Sample(
            str(code), "EuroSAT", "L2A", "", np.full((10, 64, 64), value, np.uint16),
            np.full((64, 64), code, np.uint16), 0.0, 0.0,
        )
        for code, value in values.items()
    ]  # fmt: skip


def _trained() -> UNet:
    recipe = Recipe(epochs=60, side=32, batch=4, threads=1, learning_rate=1e-2)
    return train(_samples(), recipe, TINY, Progress(disable=True), "test")


def test_training_learns_and_repeats_itself() -> None:
    one, again = _trained(), _trained()
    for first, second in zip(one.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    codes = np.array([0, *(entry.code for entry in CLASSES)])
    for sample in _samples():
        predicted = codes[predict(one, sample.reflectance[None])[0]]
        assert (predicted == sample.codes).mean() > 0.9


def test_the_exported_graph_says_what_the_network_says(tmp_path: Path) -> None:
    repository, model = ModelRepository(tmp_path), ModelVersion("tiny", 3)
    description = export(_trained(), model, repository.folder(model))
    assert repository.describe(model) == description
    assert repository.graph(model).stat().st_size < 200_000
    assert 'name: "tiny"' in (tmp_path / "tiny" / "config.pbtxt").read_text(encoding="utf-8")


def test_a_pixel_that_may_be_either_costs_nothing_more_than_their_sum() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))[None, :, None, None].repeat(1, 1, 1, 3)
    allowed = torch.tensor([[True, False, False], [True, True, False], [False, False, False]]).T[None, :, None]
    weights = torch.tensor([[[2.0, 1.0, 9.0]]])
    loss = masked_loss(logits, allowed, weights, smoothing=0.0)
    expected = -(2 * np.log(0.5) + np.log(0.8)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_void_pixels_cost_nothing() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = masked_loss(logits, torch.zeros(1, 3, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2))
    loss.backward()
    assert float(loss) == 0.0
    assert not logits.grad.any()
