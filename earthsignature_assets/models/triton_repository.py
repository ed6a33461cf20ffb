"""What NVIDIA Triton serves: the configuration of a model, and a repository laid out for one kind of server.

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
    """What a Triton server runs a model with."""

    ONNX_RUNTIME = "onnxruntime"
    """The ONNX Runtime backend on what the server has: its GPUs, or else its processors."""

    GPU = "gpu"
    """The ONNX Runtime backend on GPUs alone."""

    TENSORRT = "tensorrt"
    """The ONNX Runtime backend on GPUs, with TensorRT in half precision for all but the conversion of uint16."""

    PYTHON = "python"
    """The python backend on processors: for servers without an ONNX Runtime backend."""


def triton_configuration(description: ModelDescription, target: TritonTarget = TritonTarget.ONNX_RUNTIME) -> str:
    """Return the text of `config.pbtxt`.

    Height and width are free in steps of the stride. Where one instance runs a batch faster than its windows, batches
    of equal windows are gathered for at most 5 ms. At most 16 windows wait (a window with its halo is about 25 MB),
    none for longer than a minute: what comes on top is refused at once, and its client waits.
    """
    # The python backend answers a batch's windows one after another, while its other instance stands idle.
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
    """Lay model versions out for Triton servers; `folder` is a model repository for every other engine as well.

    Args:
        repository: where the versions are.
        models: which of them; others that `folder` holds stay.
        target: what the servers run them with.
        folder: the repository to write; made if absent.

    Raises:
        ModelError: a version is absent or damaged, or versions of one model take different bands.
        StoreUnavailableError: the folder cannot be written.
    """
    for name, versions in groupby(sorted(models), key=lambda model: model.name):
        descriptions = [repository.describe(model) for model in versions]
        bands = {description.bands for description in descriptions}
        if len(bands) > 1:
            raise ModelError(f"{name}: Triton has one configuration for all versions, and they take {sorted(bands)}")
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
    """Instances of the model, and what runs each of them.

    One instance a GPU: a window fills it, and a second one only takes memory. Processes of one thread on
    processors: they share two cores better than one with two threads, and a third one works while another's window is
    on its way.
    """
    if target is TritonTarget.ONNX_RUNTIME:
        return "instance_group [ { count: 1 } ]\n"
    if target is TritonTarget.PYTHON:
        return (
            "instance_group [ { count: 3 kind: KIND_CPU } ]\n"
            'parameters { key: "threads" value: { string_value: "1" } }\n'
        )
    # A search for the best convolution would begin anew with the shape of every trimmed window.
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
    """One engine for all shapes, from a trimmed window to a batch of whole ones, kept between starts."""
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
