from pathlib import Path

import numpy as np
import onnx
import pytest

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.training.quantisation import agreement, quantise, quantise_version

V1, INT8 = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 3)


def test_a_quantised_version_agrees_on_real_images_that_it_has_not_seen(
    hateg_folder: Path, eurosat_folder: Path, tmp_path: Path
) -> None:
    figures = quantise_version(shipped_repository(), V1, INT8.version, hateg_folder.parent, tmp_path)
    assert figures.model == INT8
    assert min(figures.cpu_seconds, figures.source_cpu_seconds) > 0
    assert 0.98 < figures.hateg_agreement < 1
    assert 0.98 < figures.eurosat_agreement < 1
    repository = ModelRepository(tmp_path)
    description, source = repository.describe(INT8), shipped_repository().describe(V1)
    assert (description.classes, description.halo) == (source.classes, source.halo)
    assert description.sha256 != source.sha256
    kinds = [node.op_type for node in onnx.load(repository.graph(INT8)).graph.node]
    assert "QuantizeLinear" in kinds
    assert repository.graph(INT8).stat().st_size < 0.4 * shipped_repository().graph(V1).stat().st_size
    assert EmbeddedEngine(repository, INT8).segment(np.full((1, 10, 64, 64), 900, np.uint16)).class_index.min() >= 1
    card = (repository.folder(INT8) / "card.md").read_text(encoding="utf-8")
    assert f"{figures.hateg_agreement:.2%}" in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corine-unet"]
    with pytest.raises(ModelError, match="corine-unet-v3 exists"):
        quantise_version(shipped_repository(), V1, INT8.version, hateg_folder.parent, tmp_path)


def test_a_version_is_never_overwritten_by_its_int8_twin(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="corine-unet-v1 exists"):
        quantise_version(shipped_repository(), V1, 1, tmp_path, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_graph_agrees_with_itself_and_less_with_a_coarse_copy(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    images = [random.integers(1, 5000, (10, 64, 64)).astype(np.uint16) for _ in range(2)]
    source = shipped_repository().graph(V1)
    whole = Graph(source)
    assert agreement(whole, whole, images) == 1
    # Ranges from a dark image alone: what is brighter is cut off.
    quantise(source, tmp_path / "coarse.onnx", [np.full((10, 64, 64), 5, np.uint16)])
    assert agreement(whole, Graph(tmp_path / "coarse.onnx"), images) < 0.9
