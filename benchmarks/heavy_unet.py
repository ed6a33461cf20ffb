"""The heavy case: the U-Net of Ronneberger et al. (2015) in its common form, 64 channels wide, random weights.

Four halvings, two 3 × 3 convolutions a level both ways, 2 × 2 up-convolutions, skips by concatenation, 31 million
weights; same-size convolutions, as in later implementations. Batch normalisation counts as folded.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.row import Options

if TYPE_CHECKING:
    from earthsignature_assets.models.repository import ModelRepository

NAME, VERSION = "heavy-unet", 1
WIDTH, DEPTH = 64, 4
STRIDE = 1 << DEPTH
HALO = 112
CORE = 512


def heavy_repository(options: Options) -> "ModelRepository":
    """Return the repository of `heavy-unet-v1`, created if absent."""
    import onnx

    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import ModelDescription, ModelRepository, shipped_repository
    from earthsignature_assets.sentinel2 import S2_BANDS

    repository = ModelRepository(options.folder / "heavy-models")
    model = ModelVersion(NAME, VERSION)
    folder = repository.folder(model)
    if (folder / "model.json").exists():
        return repository
    classes = shipped_repository().describe(ModelVersion("corine-unet", 1)).classes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(_graph(len(S2_BANDS), len(classes)), path)
    description = ModelDescription(
        model=model,
        bands=S2_BANDS,
        level="L2A",
        resolution_m=10.0,
        stride=STRIDE,
        receptive_field=2 * _reach() + 1,
        halo=HALO,
        classes=classes,
        sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        core=CORE,
    )
    (folder / "model.json").write_text(description.to_json(), encoding="utf-8")
    return repository


def _reach() -> int:
    """Compute the reach in pixels: 2^l for each 3 × 3 convolution at level l, and the block of the stride."""
    down = sum(2 << level for level in range(DEPTH + 1))
    up = sum(2 << level for level in range(DEPTH))
    return down + up + STRIDE - 1


def _graph(bands: int, classes: int) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []

    def constant(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def drawn(name: str, shape: tuple[int, ...], fan_in: int) -> str:
        return constant(name, random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32))

    def convolution(x: str, name: str, inputs: int, outputs: int, size: int = 3) -> str:
        weight = drawn(f"{name}.weight", (outputs, inputs, size, size), inputs * size * size)
        return node("Conv", [x, weight], name, kernel_shape=[size, size], pads=[size // 2] * 4)

    def block(x: str, name: str, inputs: int, outputs: int) -> str:
        for number in (1, 2):
            x = node("Relu", [convolution(x, f"{name}.{number}", inputs, outputs)], f"{name}.{number}.relu")
            inputs = outputs
        return x

    x = node("Cast", ["reflectance"], "as_float", to=TensorProto.FLOAT)
    x = node("Mul", [x, constant("scale", np.float32(1e-4))], "scaled")
    channels = [WIDTH << level for level in range(DEPTH + 1)]
    skips: list[str] = []
    inputs = bands
    for level, outputs in enumerate(channels):
        if level:
            x = node("MaxPool", [x], f"pool.{level}", kernel_shape=[2, 2], strides=[2, 2])
        x = block(x, f"down.{level}", inputs, outputs)
        skips.append(x)
        inputs = outputs
    for level in reversed(range(DEPTH)):
        outputs = channels[level]
        weight = drawn(f"raise.{level}.weight", (inputs, outputs, 2, 2), inputs)
        x = node("ConvTranspose", [x, weight], f"raise.{level}", kernel_shape=[2, 2], strides=[2, 2])
        x = node("Concat", [skips[level], x], f"skip.{level}", axis=1)
        x = block(x, f"up.{level}", 2 * outputs, outputs)
        inputs = outputs
    logits = convolution(x, "logits", WIDTH, classes, size=1)
    axis = constant("axis", np.array([1], np.int64))
    best = node("ReduceMax", [logits, axis], "best", keepdims=1)
    total = node("ReduceSum", [node("Exp", [node("Sub", [logits, best], "less")], "exp"), axis], "total", keepdims=0)
    percent = node("Round", [node("Div", [constant("hundred", np.float32(100)), total], "share")], "percent")
    index = node("ArgMax", [logits], "index", axis=1, keepdims=0)
    index = node("Add", [index, constant("one", np.array(1, np.int64))], "from_one")
    node("Cast", [index], "class_index", to=TensorProto.UINT8)
    node("Cast", [percent], "confidence", to=TensorProto.UINT8)
    free = ["patches", "height", "width"]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("reflectance", TensorProto.UINT16, ["patches", bands, "height", "width"])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, free) for name in ("class_index", "confidence")],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
