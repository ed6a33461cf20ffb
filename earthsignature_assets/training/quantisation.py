"""A version in int8: the same network with integer convolutions, written as a separate version.

Static quantisation by ONNX Runtime (QDQ format, uint8 activations, int8 weights with a scale for each channel); the
ranges come from the training split of a training set. Sums of skip connections and the last convolution stay in
float32: in int8 they change the class of one pixel in twenty-five, without them one in two hundred, at nearly the same
speed. Needs onnx (the extra `quantise`).
"""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from earthsignature_assets.errors import GroundTruthError, ModelError
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph, padded
from earthsignature_assets.models.repository import ModelDescription, ModelRepository
from earthsignature_assets.models.triton_repository import triton_configuration
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.training.augmentation import at_level

_Image = npt.NDArray[np.uint16]
_MOST_CALIBRATION_IMAGES = 256
_QUANTISED_OPERATIONS = ["Conv", "MaxPool", "Relu"]


@dataclass(frozen=True)
class Quantised:
    """Figures of an int8 version next to its float32 source.

    Attributes:
        model: the int8 version.
        agreement: share of the pixels of each held-out split that keep their class, 0…1.
        cpu_seconds: processor seconds for 1024 × 1024 pixels on one thread.
        source_cpu_seconds: the same of the float32 source.
        calibration_images: number of training samples that gave the ranges.
    """

    model: ModelVersion
    agreement: Mapping[Split, float]
    cpu_seconds: float
    source_cpu_seconds: float
    calibration_images: int


def quantise_version(
    repository: ModelRepository, source: ModelVersion, version: int, training_set: TrainingSet, target: Path
) -> Quantised:
    """Write an int8 version under a new number, and measure it next to its float32 source.

    Samples of the training split give the ranges; those of the validation and test splits give the agreement.

    Args:
        repository: the repository that holds the source.
        source: the version in float32.
        version: the number of the new version.
        training_set: the samples; labels are not used.
        target: the root of the repository to write into; created if absent.

    Raises:
        ModelError: the source is absent or damaged, or the new version exists.
        GroundTruthError: the training split or both held-out splits are empty, or the set has other bands.
    """
    description = repository.describe(source)
    model = ModelVersion(source.name, version)
    if model in repository.versions() or model in ModelRepository(target).versions():
        raise ModelError(f"{model} exists: give the int8 version a new number")
    if description.bands != S2_BANDS:
        raise GroundTruthError(f"{source} takes {', '.join(description.bands)}, the set has {', '.join(S2_BANDS)}")
    calibration = _evenly(training_set.numbers(Split.TRAIN), _MOST_CALIBRATION_IMAGES)
    held_out = {split: numbers for split in (Split.VALIDATION, Split.TEST) if (numbers := training_set.numbers(split))}
    if not calibration or not held_out:
        empty = f"{Split.TRAIN}" if not calibration else f"{Split.VALIDATION} or {Split.TEST}"
        raise GroundTruthError(
            f"{training_set.folder} has no sample in the split {empty}: give it a share in the recipe, and make the "
            "set again"
        )

    def images(numbers: Iterable[int]) -> Iterator[_Image]:
        return (at_level(training_set.sample(number), description.level) for number in numbers)

    with TemporaryDirectory() as staged:
        folder = ModelRepository(Path(staged)).folder(model)
        folder.mkdir(parents=True)
        quantise(
            repository.graph(source),
            folder / "model.onnx",
            (padded(image, description.stride) for image in images(calibration)),
        )
        content = (folder / "model.onnx").read_bytes()
        written = replace(description, model=model, sha256=hashlib.sha256(content).hexdigest())
        graphs = Graph(repository.graph(source), threads=1), Graph(folder / "model.onnx", threads=1)
        source_cpu_seconds, cpu_seconds = _cpu_seconds(graphs, len(description.bands))
        figures = Quantised(
            model=model,
            agreement={
                split: agreement(*graphs, images(numbers), description.stride) for split, numbers in held_out.items()
            },
            cpu_seconds=cpu_seconds,
            source_cpu_seconds=source_cpu_seconds,
            calibration_images=len(calibration),
        )
        (folder / "model.json").write_text(written.to_json(), encoding="utf-8")
        (folder / "card.md").write_text(_card(written, source, training_set, figures), encoding="utf-8")
        (folder.parent / "config.pbtxt").write_text(triton_configuration(written), encoding="utf-8")
        ModelRepository(target).register(folder)
    return figures


def quantise(source: Path, target: Path, calibration: Iterable[_Image]) -> None:
    """Write a graph in int8.

    Args:
        source: the float32 graph.
        target: the int8 graph to write.
        calibration: images that give the ranges, (bands, height, width) uint16 each; sides are multiples of the stride.
    """
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        convolutions = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
        # ONNX Runtime advises preparing the graph, although it was prepared above.
        logging.getLogger().addFilter(_no_advice)
        try:
            quantize_static(
                str(prepared),
                str(target),
                _Images(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED_OPERATIONS,
                nodes_to_exclude=convolutions[-1:],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.getLogger().removeFilter(_no_advice)


def agreement(one: Graph, other: Graph, images: Iterable[_Image], stride: int) -> float:
    """Return the share of pixels to which two graphs give the same class, 0…1.

    Args:
        one: a graph.
        other: a graph of the same input and classes.
        images: (bands, height, width) uint16 each, of any size.
        stride: of both graphs, in pixels.
    """
    same = total = 0
    for image in images:
        answers = [graph.run_scene(image, stride) for graph in (one, other)]
        same += int(np.count_nonzero(answers[0] == answers[1]))
        total += answers[0].size
    return same / total


def _cpu_seconds(graphs: Sequence[Graph], bands: int, repeats: int = 4) -> list[float]:
    """Measure the processor seconds of each graph for 1024² pixels on one thread: in turns, the least of `repeats`."""
    image = np.random.default_rng(0).integers(1, 6000, (1, bands, 1024, 1024)).astype(np.uint16)
    taken: list[list[float]] = [[] for _ in graphs]
    for _ in range(repeats):
        for graph, seconds in zip(graphs, taken, strict=True):
            started = time.process_time()
            graph.run(image)
            seconds.append(time.process_time() - started)
    return [min(seconds) for seconds in taken]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is not typed
    def __init__(self, images: Iterable[_Image]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, _Image] | None:
        image = next(self._images, None)
        return None if image is None else {"reflectance": image[None]}


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _evenly(numbers: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the numbers, evenly spaced."""
    return [numbers[position * len(numbers) // most] for position in range(most)] if len(numbers) > most else [*numbers]


def _card(description: ModelDescription, source: ModelVersion, training_set: TrainingSet, figures: Quantised) -> str:
    name = training_set.report["name"]
    kept = "\n".join(
        f"  - {share:.2%} of the pixels of the split `{split}` keep their class."
        for split, share in figures.agreement.items()
    )
    return f"""# {description.model}

{source} in int8: integer convolutions by static quantisation with ONNX Runtime, written by
`earthsignature models quantise`. Training data, classes, accuracy and limits are those of {source}'s card; the
differences are:

- Calibration: {figures.calibration_images} training samples of {name} (`{training_set.identity}`).
- Agreement with {source} on the held-out samples of {name}:
{kept}
- Time: {figures.cpu_seconds:.2f} processor seconds for 1024 × 1024 pixels in ONNX Runtime, in float32
  {figures.source_cpu_seconds:.2f}. Processors without dot products of bytes (AVX-512 VNNI, AVX-VNNI) gain less and may
  saturate: quantise and compare on the kind of processor that will run the version.

`model.onnx`, SHA-256 `{description.sha256}`.
"""
