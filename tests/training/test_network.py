"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")
pytest.importorskip("onnx", reason="onnx is absent (the extra `train`)")

import torch

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository, PredictedClass
from earthsignature_assets.training.network import Architecture, UNet, measured_reach, predict
from earthsignature_assets.training.onnx_export import check_parity, export

CLASSES = tuple(PredictedClass(code, 3, "") for code in (112, 121, 211, 222, 231, 313, 321, 512))
TINY = Architecture(classes=len(CLASSES), width=4, depth=2)


@pytest.mark.parametrize("architecture", [TINY, Architecture(width=4, depth=3), Architecture(width=4, depth=1)])
def test_the_receptive_field_is_that_of_the_formula(architecture: Architecture) -> None:
    assert measured_reach(architecture) == architecture.reach
    assert architecture.halo % architecture.stride == 0
    assert architecture.halo >= architecture.reach


@pytest.mark.parametrize("shape", [(1, 64, 96), (2, 48, 48)])
def test_the_exported_graph_agrees_with_the_network(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(3)
    network = UNet(TINY, [5.0] * 10, [1.0] * 10).eval()
    repository, model = ModelRepository(tmp_path), ModelVersion("tiny", 3)
    description = export(network, model, repository.folder(model), CLASSES)
    assert repository.describe(model) == description
    assert (description.receptive_field, description.architecture) == (TINY.receptive_field, "U-Net")
    assert repository.graph(model).stat().st_size < 200_000
    assert 'name: "tiny"' in (tmp_path / "tiny" / "config.pbtxt").read_text(encoding="utf-8")
    image = np.random.default_rng(5).integers(0, 10_000, (shape[0], 10, *shape[1:])).astype(np.uint16)
    class_index, _ = Graph(repository.graph(model)).run(image)
    assert (class_index == predict(network, image)).mean() > 0.999


def test_a_graph_that_disagrees_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network, model = UNet(TINY, [5.0] * 10, [1.0] * 10).eval(), ModelVersion("tiny", 3)
    export(network, model, tmp_path / "3", CLASSES)
    with torch.no_grad():
        network.head.bias += torch.linspace(0, 5, TINY.classes)
    with pytest.raises(ModelError, match="tiny-v3: ONNX Runtime and PyTorch disagree"):
        check_parity(network, tmp_path / "3" / "model.onnx", model)
