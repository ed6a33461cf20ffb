"""A version in int8: the same network with whole-number convolutions, as a version of its own.

Static quantisation by ONNX Runtime (QDQ format, uint8 activations, int8 weights with a scale for each channel), with
ranges from real patches. Sums of skips and the last convolution stay in float32: with them in int8 one pixel in
twenty-five changes its class, without them one in two hundred, at nearly the same pace. Needs onnx (the extra
`quantise`).
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from earthsignature_assets.errors import ModelError
from earthsignature_assets.ground_truth.samples import read_eurosat, read_hateg
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelDescription, ModelRepository
from earthsignature_assets.models.triton_repository import triton_configuration
from earthsignature_assets.training.augmentation import as_typical_surface

_Image = npt.NDArray[np.uint16]
_TILE = 192
_WHOLE_NUMBERS = ["Conv", "MaxPool", "Relu"]


@dataclass(frozen=True)
class Quantised:
    """What came of it: shares of held-out pixels that keep their class, and processor seconds for 1024² pixels."""

    model: ModelVersion
    eurosat_agreement: float
    hateg_agreement: float
    cpu_seconds: float
    source_cpu_seconds: float
    calibration_images: int


def quantise_version(
    repository: ModelRepository, source: ModelVersion, version: int, data: Path, target: Path
) -> Quantised:
    """Write a version in int8 under a number of its own, and measure it beside its float32 source.

    Every second EuroSAT patch and the western half of the Hațeg scene give the ranges; the others judge.

    Args:
        repository: where the source is.
        source: the version in float32.
        version: the number of the new version.
        data: the data folder: eurosat_ms_geotorchai, s2_hateg_34TFR_20181016.
        target: the repository to write into; made if absent.

    Raises:
        ModelError: the source is absent or damaged, or the new version exists.
        GroundTruthError: the data cannot be read.
    """
    description = repository.describe(source)
    model = ModelVersion(source.name, version)
    if model in repository.versions() or model in ModelRepository(target).versions():
        raise ModelError(f"{model} exists: give the int8 version a number of its own")
    patches = [as_typical_surface(patch).astype(np.uint16) for patch in read_eurosat(data / "eurosat_ms_geotorchai")]
    scene = read_hateg(data / "s2_hateg_34TFR_20181016").reflectance
    west, east = (_on_stride(half, description.stride) for half in np.array_split(scene, 2, axis=2))
    calibration = [*patches[::2], *_tiles(west)]
    with TemporaryDirectory() as staged:
        folder = ModelRepository(Path(staged)).folder(model)
        folder.mkdir(parents=True)
        quantise(repository.graph(source), folder / "model.onnx", calibration)
        content = (folder / "model.onnx").read_bytes()
        written = replace(description, model=model, sha256=hashlib.sha256(content).hexdigest())
        graphs = Graph(repository.graph(source), threads=1), Graph(folder / "model.onnx", threads=1)
        source_cpu_seconds, cpu_seconds = _cpu_seconds(graphs, len(description.bands))
        figures = Quantised(
            model=model,
            eurosat_agreement=agreement(*graphs, patches[1::2]),
            hateg_agreement=agreement(*graphs, [east]),
            cpu_seconds=cpu_seconds,
            source_cpu_seconds=source_cpu_seconds,
            calibration_images=len(calibration),
        )
        (folder / "model.json").write_text(written.to_json(), encoding="utf-8")
        (folder / "card.md").write_text(_card(written, source, figures), encoding="utf-8")
        (folder.parent / "config.pbtxt").write_text(triton_configuration(written), encoding="utf-8")
        ModelRepository(target).register(folder)
    return figures


def quantise(source: Path, target: Path, calibration: Sequence[_Image]) -> None:
    """Write a graph in int8.

    Args:
        source: the float32 graph.
        target: where the int8 graph shall be.
        calibration: images from which the ranges are taken, (bands, height, width) uint16 each.
    """
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        convolutions = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
        # It advises to prepare the graph although that has been done.
        logging.getLogger().addFilter(_no_advice)
        try:
            quantize_static(
                str(prepared),
                str(target),
                _Images(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_WHOLE_NUMBERS,
                nodes_to_exclude=convolutions[-1:],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.getLogger().removeFilter(_no_advice)


def agreement(one: Graph, other: Graph, images: Sequence[_Image]) -> float:
    """Return the share of the pixels of some images to which two graphs give the same class."""
    same = total = 0
    for image in images:
        answers = [graph.run(image[None])[0] for graph in (one, other)]
        same += int(np.count_nonzero(answers[0] == answers[1]))
        total += answers[0].size
    return same / total


def _cpu_seconds(graphs: Sequence[Graph], bands: int, repeats: int = 4) -> list[float]:
    """Processor seconds that each graph takes for 1024² pixels on one thread, in turns, the least of some."""
    image = np.random.default_rng(0).integers(1, 6000, (1, bands, 1024, 1024)).astype(np.uint16)
    taken: list[list[float]] = [[] for _ in graphs]
    for _ in range(repeats):
        for graph, seconds in zip(graphs, taken, strict=True):
            started = time.process_time()
            graph.run(image)
            seconds.append(time.process_time() - started)
    return [min(seconds) for seconds in taken]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is not typed
    def __init__(self, images: Sequence[_Image]) -> None:
        self._images: Iterator[_Image] = iter(images)

    def get_next(self) -> dict[str, _Image] | None:
        image = next(self._images, None)
        return None if image is None else {"reflectance": image[None]}


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _on_stride(image: _Image, stride: int) -> _Image:
    height, width = (length // stride * stride for length in image.shape[1:])
    return np.ascontiguousarray(image[:, :height, :width])


def _tiles(image: _Image) -> list[_Image]:
    """Cut an image into squares; what is left at its lower and right edge is not used."""
    rows, columns = (range(0, length - _TILE + 1, _TILE) for length in image.shape[1:])
    return [np.ascontiguousarray(image[:, y : y + _TILE, x : x + _TILE]) for y in rows for x in columns]


def _card(description: ModelDescription, source: ModelVersion, figures: Quantised) -> str:
    return f"""# {description.model}

{source} in int8: its convolutions in whole numbers, by static quantisation with ONNX Runtime, written by
`earthsignature models quantise`. Training data, classes, accuracy and limits are those of {source}'s card; what differs
is here.

- Calibration: {figures.calibration_images} images, every second EuroSAT patch as typical surface reflectance and the
  western half of the Hațeg scene.
- Agreement with {source} on the others: {figures.eurosat_agreement:.2%} of the pixels of EuroSAT keep their class,
  {figures.hateg_agreement:.2%} of the eastern half of Hațeg.
- Time: {figures.cpu_seconds:.2f} processor seconds for 1024 × 1024 pixels in ONNX Runtime, in float32
  {figures.source_cpu_seconds:.2f}. Processors without dot products of bytes (AVX-512 VNNI, AVX-VNNI) gain less and may
  saturate: quantise and compare on the kind that will run it.

`model.onnx`, SHA-256 `{description.sha256}`.
"""
