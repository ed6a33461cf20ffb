"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")
pytest.importorskip("onnx", reason="onnx is absent (the extra `train`)")

import onnx
import torch

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.training.augmentation import PATH_RADIANCE
from earthsignature_assets.training.network import measured_reach, predict
from earthsignature_assets.training.onnx_export import export
from earthsignature_assets.training.optimisation import Recipe, train
from recipes.corine_unet import pretrained
from recipes.corine_unet.data import CLASSES
from recipes.corine_unet.pretrained import PretrainedArchitecture
from recipes.corine_unet.teacher import COVERS, DynamicWorld
from tests.small_training import CODES, QUIET, samples


@pytest.fixture
def architecture(dynamic_world: Path) -> PretrainedArchitecture:
    return PretrainedArchitecture(covers=len(COVERS), graph=dynamic_world)


def scene(seed: int = 0, side: int = 96) -> np.ndarray:
    """Create surface reflectance, (10, side, side) uint16, in blocks of spectra from water to bare soil."""
    generator = np.random.default_rng(seed)
    spectra = generator.integers(200, 3500, (10, side // 16, side // 16))
    blocks = spectra.repeat(16, axis=1).repeat(16, axis=2)
    return (blocks + generator.integers(0, 100, blocks.shape)).astype(np.uint16)


def test_the_receptive_field_is_that_of_the_formula(architecture: PretrainedArchitecture) -> None:
    assert measured_reach(architecture) == architecture.reach == 21
    assert (architecture.halo, architecture.receptive_field) == (22, 43)


def test_the_network_starts_as_dynamic_world(
    architecture: PretrainedArchitecture, dynamic_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predict Dynamic World's covers of the image as level-1C, before any training and with its activation.

    Nearly everywhere: it halves and raises otherwise. Without the weights of a single layer it would tell others.
    """
    monkeypatch.setattr(pretrained, "_activation", torch.nn.functional.mish)
    network = architecture.network().eval()
    image = scene()
    with torch.inference_mode():
        logits = network.covers(network.features(torch.from_numpy(image.astype(np.float32))[None]))[0]
    taught = DynamicWorld(dynamic_world, 1).covers((image + PATH_RADIANCE[:, None, None]).astype(np.uint16))
    inner = slice(24, -24)
    same = logits.numpy().argmax(axis=0)[inner, inner] == taught.argmax(axis=0)[inner, inner]
    assert same.mean() > 0.9
    assert len(np.unique(taught.argmax(axis=0)[inner, inner])) > 1


def test_the_exported_graph_agrees_with_the_network(architecture: PretrainedArchitecture, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = architecture.network().eval()
    with torch.no_grad():
        network.head.deep.weight *= 5
        network.head.fine.weight.normal_(0, 0.1)
    repository, model = ModelRepository(tmp_path), ModelVersion("tiny", 3)
    description = export(network, model, repository.folder(model), CLASSES)
    assert (description.stride, description.halo, description.core) == (2, 22, 448)
    assert description.architecture == "U-Net from Dynamic World"
    image = np.stack([scene(1), scene(2)])
    class_index, _ = Graph(repository.graph(model)).run(image)
    assert (class_index == predict(network, image)).mean() > 0.999
    assert len(np.unique(class_index)) > 2


def test_training_changes_every_layer_and_resumes_after_a_kill(
    architecture: PretrainedArchitecture, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=2, side=32, batch=2, learning_rate=1e-3)
    first = architecture.network()
    whole, _ = train(samples(), recipe, architecture, QUIET, "whole", classes=CODES)
    for name, parameter in whole.named_parameters():
        assert not torch.equal(parameter, dict(first.named_parameters())[name]), name

    def stop(step: int, _: int) -> None:
        if step > len(samples()) // recipe.batch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            samples(), recipe, architecture, QUIET, "killed", classes=CODES, checkpoint=tmp_path / "it.pt", report=stop
        )
    # The data folder may have moved in between.
    moved = tmp_path / "elsewhere.onnx"
    moved.write_bytes(architecture.graph.read_bytes())
    elsewhere = replace(architecture, graph=moved)
    resumed, _ = train(samples(), recipe, elsewhere, QUIET, "resumed", classes=CODES, checkpoint=tmp_path / "it.pt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_missing_or_different_graph_is_named(architecture: PretrainedArchitecture, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx is missing"):
        replace(architecture, graph=tmp_path / "nothing.onnx").network()
    content = onnx.load(architecture.graph)
    last = [node for node in content.graph.node if node.op_type == "Conv"][-1]
    content.graph.node.remove(last)
    onnx.save(content, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx does not hold the layers"):
        replace(architecture, graph=tmp_path / "other.onnx").network()
