"""NVIDIA Triton: the configuration of a model, and a repository for one kind of server.

Triton's fields: github triton-inference-server/common, protobuf/model_config.proto; the parameters of its ONNX Runtime
backend: github triton-inference-server/onnxruntime_backend, README.
"""

import shutil
from collections.abc import Sequence
from enum import StrEnum
from importlib import resources
from itertools import groupby
from pathlib import Path

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository
from earthsignature_assets.system.atomic import whole_folder, write_whole

_MAX_BATCH = 8
_MAX_QUEUE = 16
_MAX_WAIT_S = 60


class TritonTarget(StrEnum):
    """The backend and hardware of a Triton server."""

    ONNX_RUNTIME = "onnxruntime"
    """The ONNX Runtime backend on the server's GPUs, or else on its processors."""

    GPU = "gpu"
    """The ONNX Runtime backend on GPUs only."""

    TENSORRT = "tensorrt"
    """The ONNX Runtime backend on GPUs, with TensorRT in half precision except for the conversion of uint16."""

    PYTHON = "python"
    """The python backend on processors: for servers without an ONNX Runtime backend."""


def triton_configuration(description: ModelDescription, target: TritonTarget = TritonTarget.ONNX_RUNTIME) -> str:
    """Return the text of `config.pbtxt`.

    Height and width are free in steps of the stride. Where an instance runs a batch faster than single windows, the
    server gathers batches of equal windows for at most 5 ms. At most 16 windows wait (a window with its halo is about
    25 MB), each for at most a minute; the server refuses further ones at once, and their client waits.
    """
    # The python backend runs a batch's windows one after another, while its other instances are idle.
    preferred, delay_us = ("1", 0) if target is TritonTarget.PYTHON else (f"{_MAX_BATCH // 2}, {_MAX_BATCH}", 5000)
    return f"""name: "{description.model.name}"
{_BACKEND[target]}
max_batch_size: {_MAX_BATCH}
input [
  {{
    name: "reflectance"
    data_type: TYPE_UINT16
    dims: [ {len(description.bands)}, -1, -1 ]
  }}
]
output [
  {{
    name: "class_index"
    data_type: TYPE_UINT8
    dims: [ -1, -1 ]
  }},
  {{
    name: "confidence"
    data_type: TYPE_UINT8
    dims: [ -1, -1 ]
  }}
]
dynamic_batching {{
  preferred_batch_size: [ {preferred} ]
  max_queue_delay_microseconds: {delay_us}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {_MAX_WAIT_S * 1_000_000}
    max_queue_size: {_MAX_QUEUE}
  }}
}}
version_policy {{ all {{ }} }}
{_instances(description, target)}"""


def write_triton_repository(
    repository: ModelRepository, models: Sequence[ModelVersion], target: TritonTarget, folder: Path
) -> None:
    """Write model versions for Triton servers; every other engine can read `folder` as a model repository too.

    Args:
        repository: the repository of the versions.
        models: the versions to write; other versions in `folder` stay.
        target: backend and hardware of the servers.
        folder: the repository to write; created if absent.

    Raises:
        ModelError: a version is absent or damaged, or versions of one model read different bands.
        StoreUnavailableError: the folder cannot be written.
    """
    for name, versions in groupby(sorted(models), key=lambda model: model.name):
        descriptions = [repository.describe(model) for model in versions]
        bands = {description.bands for description in descriptions}
        if len(bands) > 1:
            raise ModelError(f"{name}: Triton has one configuration for all versions, and they read {sorted(bands)}")
        for description in descriptions:
            _copy_version(repository, description.model, target, folder)
        configuration = folder / name / "config.pbtxt"
        write_whole(configuration, triton_configuration(descriptions[-1], target).encode())


def _copy_version(repository: ModelRepository, model: ModelVersion, target: TritonTarget, folder: Path) -> None:
    graph = repository.graph(model)
    place = ModelRepository(folder).folder(model)
    with whole_folder(place) as partial:
        shutil.copytree(graph.parent, partial, dirs_exist_ok=True)
        if target is TritonTarget.PYTHON:
            backend = resources.files("earthsignature_assets.models") / "python_backend.py"
            (partial / "model.py").write_text(backend.read_text(encoding="utf-8"), encoding="utf-8")


_ONNX = 'platform: "onnxruntime_onnx"'
_BACKEND = {
    TritonTarget.ONNX_RUNTIME: _ONNX,
    TritonTarget.GPU: _ONNX,
    TritonTarget.TENSORRT: _ONNX,
    TritonTarget.PYTHON: 'backend: "python"',
}


def _instances(description: ModelDescription, target: TritonTarget) -> str:
    """Return the instances of the model and their hardware.

    One instance a GPU: a window fills it, and a second instance only takes memory. Three processes of one thread each
    on processors: they share two cores better than one process of two threads, and the third one works while another's
    window is in transfer.
    """
    if target is TritonTarget.ONNX_RUNTIME:
        return "instance_group [ { count: 1 } ]\n"
    if target is TritonTarget.PYTHON:
        return (
            "instance_group [ { count: 3 kind: KIND_CPU } ]\n"
            'parameters { key: "threads" value: { string_value: "1" } }\n'
        )
    # A search for the best convolution would start again for the shape of every trimmed window.
    cuda = """    {
      name: "cuda"
      parameters { key: "cudnn_conv_algo_search" value: "HEURISTIC" }
    }"""
    accelerators = f"{_tensorrt(description)},\n{cuda}" if target is TritonTarget.TENSORRT else cuda
    return f"""instance_group [ {{ count: 1 kind: KIND_GPU }} ]
optimization {{ execution_accelerators {{
  gpu_execution_accelerator: [
{accelerators}
  ]
}} }}
"""


def _tensorrt(description: ModelDescription) -> str:
    """Return the accelerator TensorRT: one engine for all shapes up to a batch of whole windows, cached on disk."""
    bands, halo = len(description.bands), 2 * description.halo
    whole = description.core + halo
    shapes = {
        "min": f"1x{bands}x{description.stride}x{description.stride}",
        "opt": f"{_MAX_BATCH // 2}x{bands}x{whole}x{whole}",
        "max": f"{_MAX_BATCH}x{bands}x{whole}x{whole}",
    }
    profiles = "\n".join(
        f'      parameters {{ key: "trt_profile_{kind}_shapes" value: "reflectance:{shape}" }}'
        for kind, shape in shapes.items()
    )
    return f"""    {{
      name: "tensorrt"
      parameters {{ key: "precision_mode" value: "FP16" }}
      parameters {{ key: "max_workspace_size_bytes" value: "4294967296" }}
      parameters {{ key: "trt_engine_cache_enable" value: "1" }}
      parameters {{ key: "trt_engine_cache_path" value: "/tmp/{description.model.name}-tensorrt" }}
{profiles}
    }}"""
