"""Export of a trained network to the model repository: graph, parity check, description, Triton's configuration.

Needs PyTorch and onnx (the extra `train`).
"""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.input_range import InputRange
from earthsignature_assets.models.repository import ModelDescription, PredictedClass
from earthsignature_assets.models.triton_repository import triton_configuration
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.training.network import PackagedNetwork, SegmentationNetwork, measured_reach

OPSET = 18
"""The newest opset of ONNX Runtime 1.14 and Triton 23.02."""

_PARITY = 0.9999


def export(
    network: SegmentationNetwork,
    model: ModelVersion,
    folder: Path,
    classes: tuple[PredictedClass, ...],
    *,
    training_range: InputRange | None = None,
    training_set: str = "",
) -> ModelDescription:
    """Write `model.onnx` and `model.json` into `folder` and `config.pbtxt` next to it, and check the graph.

    Args:
        network: the trained network.
        model: the name and version to write.
        folder: the version's folder in the repository; created if absent.
        classes: the classes in the order of the network's outputs.
        training_range: range of the reflectance in training.
        training_set: the identity of the training set.

    Raises:
        ModelError: the measured receptive field differs from the formula, or ONNX Runtime's results from PyTorch's.
    """
    architecture = network.architecture
    reach = measured_reach(architecture)
    if reach != architecture.reach:
        raise ModelError(
            f"{model}: the measured reach is {reach} pixels, `reach` gives {architecture.reach}: correct it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    _write_graph(network, path)
    check_parity(network, path, model)
    description = ModelDescription(
        model=model,
        bands=S2_BANDS,
        level="L2A",
        resolution_m=10.0,
        stride=architecture.stride,
        receptive_field=architecture.receptive_field,
        halo=architecture.halo,
        core=architecture.core,
        classes=classes,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        training_range=training_range,
        training_set=training_set,
        architecture=architecture.title,
    )
    (folder / "model.json").write_text(description.to_json(), encoding="utf-8")
    (folder.parent / "config.pbtxt").write_text(triton_configuration(description), encoding="utf-8")
    return description


def _write_graph(network: SegmentationNetwork, path: Path) -> None:
    stride = network.architecture.stride
    example = torch.ones(1, network.architecture.bands, 8 * stride, 8 * stride, dtype=torch.int32).to(torch.uint16)
    dynamic = {
        "reflectance": {
            0: torch.export.Dim("patches"),
            2: stride * torch.export.Dim("rows"),
            3: stride * torch.export.Dim("columns"),
        }
    }
    # The exporter warns about torchvision, which is not used, and about its internals.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PackagedNetwork(network).eval().to(memory_format=torch.contiguous_format),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["reflectance"],
            output_names=["class_index", "confidence"],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    graph = onnx.load(path)
    _forget_origins(graph)
    _name_dimensions(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def _forget_origins(graph: onnx.ModelProto) -> None:
    """Drop stack traces and paths of the exporting machine: they bloat the file and differ between machines."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    named: tuple[Any, ...] = (
        *graph.graph.value_info,
        *graph.graph.input,
        *graph.graph.output,
        *graph.graph.initializer,
    )
    for value in named:
        value.doc_string = ""
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]


def _name_dimensions(graph: onnx.ModelProto) -> None:
    """Name the free dimensions: patches, height, width."""
    for value in (*graph.graph.input, *graph.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        for position, name in ((0, "patches"), (-2, "height"), (-1, "width")):
            dimensions[position].dim_param = name
    del graph.graph.value_info[:]


def check_parity(network: SegmentationNetwork, path: Path, model: ModelVersion) -> None:
    """Compare the exported graph with the network on random reflectance.

    Raises:
        ModelError: fewer than 99.99 % of the pixels get the same class, or a confidence differs by more than 1 %.
    """
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 6000, (2, network.architecture.bands, 16, 24))
    reflectance = coarse.repeat(8, axis=2).repeat(8, axis=3) + generator.integers(0, 400, (2, 1, 128, 192))
    reflectance[:, :, :20, :40] = 0
    with torch.no_grad():
        expected = PackagedNetwork(network).eval()(torch.from_numpy(reflectance.astype(np.int32)))
    class_index, confidence = Graph(path).run(reflectance.astype(np.uint16))
    same = float((class_index == expected[0].numpy()).mean())
    apart = int(np.abs(confidence.astype(int) - expected[1].numpy().astype(int)).max())
    if same < _PARITY or apart > 1:
        raise ModelError(
            f"{model}: ONNX Runtime and PyTorch disagree (same class {same:.4%}, confidence up to {apart} % apart)"
        )
