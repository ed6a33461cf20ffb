import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Segments, check_segments
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, shipped_repository

MODEL = ModelVersion("corine-unet", 1)


@pytest.fixture(scope="module")
def engine() -> EmbeddedEngine:
    return EmbeddedEngine(shipped_repository(), MODEL)


def stack(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 5000, shape).astype(dtype)


def test_the_shipped_model_runs_as_described(engine: EmbeddedEngine) -> None:
    segments = engine.segment(stack(2, 10, 64, 96))
    assert segments.class_index.shape == segments.confidence.shape == (2, 64, 96)
    assert segments.class_index.min() >= 1
    assert segments.class_index.max() <= len(engine.description.classes)
    assert segments.confidence.max() <= 100


@pytest.mark.parametrize(
    ("reflectance", "named"),
    [
        (stack(1, 9, 64, 64), "10, height, width"),
        (stack(10, 64, 64), "10, height, width"),
        (stack(1, 10, 64, 64, dtype=np.float32), "float32"),
        (stack(1, 10, 63, 64), "multiples"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(engine: EmbeddedEngine, reflectance: np.ndarray, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        engine.segment(reflectance)


def test_an_absent_version_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(ModelError, match=r"corine-unet-v99 is not in the model repository.*corine-unet-v1"):
        EmbeddedEngine(shipped_repository(), ModelVersion("corine-unet", 99))


def damaged_copy(folder: Path, content: bytes, honest: bool) -> ModelRepository:
    shutil.copytree(shipped_repository().folder(MODEL), folder / "corine-unet" / "1")
    (folder / "corine-unet" / "1" / "model.onnx").write_bytes(content)
    if honest:
        path = folder / "corine-unet" / "1" / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}))
    return ModelRepository(folder)


@pytest.mark.parametrize(("honest", "named"), [(False, "damaged"), (True, "cannot be loaded")])
def test_a_damaged_graph_is_refused(tmp_path: Path, honest: bool, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        EmbeddedEngine(damaged_copy(tmp_path, b"no graph", honest), MODEL)


@pytest.mark.parametrize(
    ("index", "named"),
    [
        (np.zeros((1, 8, 8), np.uint8), "class indices 0"),
        (np.full((1, 8, 8), 200, np.uint8), "200"),
        (np.ones((1, 8, 8), np.int64), "int64"),
        (np.ones((1, 4, 8), np.uint8), r"\(1, 4, 8\)"),
        (np.zeros(0, np.uint8), r"\(0,\)"),
    ],
)
def test_output_that_contradicts_the_description_is_refused(
    engine: EmbeddedEngine, index: np.ndarray, named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        check_segments(engine.description, stack(1, 10, 8, 8), Segments(index, np.ones((1, 8, 8), np.uint8)))


@pytest.mark.parametrize("confidence", [0, 11, 101, 255])
def test_an_impossible_confidence_is_refused(engine: EmbeddedEngine, confidence: int) -> None:
    confidences = np.full((1, 8, 8), 12, np.uint8)
    confidences[0, 3, 4] = confidence
    with pytest.raises(ModelError, match="NaN"):
        check_segments(engine.description, stack(1, 10, 8, 8), Segments(np.ones((1, 8, 8), np.uint8), confidences))


@pytest.mark.parametrize("weight", ["bias", "weight"])
def test_a_network_that_outputs_nan_is_refused_when_it_is_loaded(tmp_path: Path, weight: str) -> None:
    graph = onnx.load(shipped_repository().graph(MODEL))
    poisoned = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith(f"head.{weight}"))
    values = numpy_helper.to_array(poisoned).copy()
    values.flat[0] = np.nan
    poisoned.CopyFrom(numpy_helper.from_array(values, poisoned.name))
    with pytest.raises(ModelError, match="NaN"):
        EmbeddedEngine(damaged_copy(tmp_path, graph.SerializeToString(), honest=True), MODEL)


def test_two_windows_share_the_threads() -> None:
    engines = [EmbeddedEngine(shipped_repository(), MODEL, threads) for threads in (1, 2, 3)]
    assert [engine.windows_at_once for engine in engines] == [1, 2, 2]
    asked = stack(1, 10, 64, 64)
    first, *others = [engine.segment(asked) for engine in engines]
    for other in others:
        assert np.array_equal(first.class_index, other.class_index)
        assert np.array_equal(first.confidence, other.confidence)
