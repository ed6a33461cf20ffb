import json
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.models.triton_repository import TritonTarget, triton_configuration, write_triton_repository

V1, V2 = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 2)


def parsed(text: str) -> model_config_pb2.ModelConfig:
    """Parse a configuration as Triton does: an unknown field is an error."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("target", list(TritonTarget))
def test_every_configuration_has_only_fields_that_triton_knows(target: TritonTarget) -> None:
    description = shipped_repository().describe(V1)
    configuration = parsed(triton_configuration(description, target))
    assert configuration.name == "corine-unet"
    assert (configuration.backend == "python") == (target is TritonTarget.PYTHON)
    assert [(tensor.name, list(tensor.dims)) for tensor in configuration.input] == [("reflectance", [10, -1, -1])]
    assert configuration.version_policy.HasField("all")
    queue = configuration.dynamic_batching.default_queue_policy
    assert (queue.max_queue_size, queue.default_timeout_microseconds) == (16, 60_000_000)
    assert queue.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT


def test_tensorrt_accepts_every_window_of_the_engine() -> None:
    description = shipped_repository().describe(V1)
    configuration = parsed(triton_configuration(description, TritonTarget.TENSORRT))
    tensorrt, cuda = configuration.optimization.execution_accelerators.gpu_execution_accelerator
    assert (tensorrt.name, cuda.name) == ("tensorrt", "cuda")
    side = description.core + 2 * description.halo
    assert tensorrt.parameters["trt_profile_min_shapes"] == "reflectance:1x10x8x8"
    assert tensorrt.parameters["trt_profile_max_shapes"] == f"reflectance:8x10x{side}x{side}"
    assert configuration.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def two_versions(folder: Path, **changes: object) -> ModelRepository:
    for version in (V1, V2):
        place = folder / version.name / str(version.version)
        shutil.copytree(shipped_repository().folder(V1), place)
        content = json.loads((place / "model.json").read_text()) | {"version": version.version}
        (place / "model.json").write_text(json.dumps(content | (changes if version == V2 else {})))
    return ModelRepository(folder)


def test_a_repository_for_triton_serves_every_engine(tmp_path: Path) -> None:
    source = two_versions(tmp_path / "models")
    write_triton_repository(source, [V1], TritonTarget.PYTHON, tmp_path / "triton")
    write_triton_repository(source, [V2], TritonTarget.PYTHON, tmp_path / "triton")
    written = ModelRepository(tmp_path / "triton")
    assert written.versions() == [V1, V2]
    assert EmbeddedEngine(written, V2).description.model == V2
    for version in (V1, V2):
        compile((written.folder(version) / "model.py").read_text(), "model.py", "exec")
    kept = sorted(path.name for path in (tmp_path / "triton" / "corine-unet").iterdir())
    assert kept == ["1", "2", "config.pbtxt"]
    write_triton_repository(source, [V1], TritonTarget.GPU, tmp_path / "triton")
    assert not (written.folder(V1) / "model.py").exists()


def test_versions_of_other_bands_cannot_share_a_configuration(tmp_path: Path) -> None:
    source = two_versions(tmp_path / "models", bands=["B02", "B03", "B04"], training_range=None)
    with pytest.raises(ModelError, match="corine-unet: Triton has one configuration for all versions"):
        write_triton_repository(source, [V1, V2], TritonTarget.GPU, tmp_path / "triton")
    assert not (tmp_path / "triton").exists()


def test_an_absent_or_damaged_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = two_versions(tmp_path / "models")
    with pytest.raises(ModelError, match="corine-unet-v9 is not in the model repository"):
        write_triton_repository(source, [ModelVersion("corine-unet", 9)], TritonTarget.GPU, tmp_path / "triton")
    (source.folder(V2) / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="damaged"):
        write_triton_repository(source, [V2], TritonTarget.GPU, tmp_path / "triton")
    assert not (tmp_path / "triton").exists()
