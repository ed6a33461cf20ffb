"""Reports of an evaluation: page, card, and the picture of input, ground truth and prediction."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.evaluation_page import evaluation_page
from earthsignature_assets.evaluation.evaluation_table import COLUMNS
from earthsignature_assets.evaluation.model_card import evaluated_card
from earthsignature_assets.evaluation.model_evaluation import Evaluation, answer, evaluate, predict
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.pictures import input_truth_prediction, land_cover, png, true_colour
from earthsignature_assets.system.atomic import whole_folder

FIGURES, PAGE, PICTURE = "evaluation.json", "evaluation.md", "evaluation.png"
CARD, ANSWERS = "card.md", "answers.parquet"
_MOST_SAMPLES = 25
_GAP = 2


def evaluate_version(
    repository: ModelRepository,
    model: ModelVersion,
    current: ModelVersion | None,
    held_out: TrainingSet,
    split: Split,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a version, compare it with the current one, and write the evaluation into a folder.

    A version is not compared with itself.

    Raises:
        ModelError: a version is absent or damaged.
        GroundTruthError: the split is empty, or a version reads other bands.
    """
    answers = answer(repository, model, held_out, split, progress=progress)
    compared = answer(repository, current, held_out, split) if current and current != model else None
    evaluation = evaluate(answers, compared, held_out, split)
    write_evaluation(folder, evaluation, repository, held_out, split)
    return evaluation


def write_evaluation(
    folder: Path, evaluation: Evaluation, repository: ModelRepository, held_out: TrainingSet, split: Split
) -> None:
    """Write figures, page, card, picture and the counted answers into a folder, whole and at once."""
    with whole_folder(folder) as partial:
        text = json.dumps(evaluation.figures, indent=1, ensure_ascii=False) + "\n"
        (partial / FIGURES).write_text(text, encoding="utf-8")
        (partial / PAGE).write_text(evaluation_page(evaluation.figures), encoding="utf-8")
        card = evaluated_card(evaluation.answers.description, evaluation.figures, held_out.report)
        (partial / CARD).write_text(card, encoding="utf-8")
        graph = Graph(repository.graph(evaluation.answers.description.model))
        (partial / PICTURE).write_bytes(evaluation_picture(evaluation, graph, held_out, split))
        columns = ["sample", "cell", "region", "image", *COLUMNS]
        evaluation.answers.table[columns].to_parquet(partial / ANSWERS, index=False, compression="zstd")


def evaluation_picture(evaluation: Evaluation, graph: Graph, held_out: TrainingSet, split: Split) -> bytes:
    """Draw up to 25 samples of the split, balanced over the classes, as a PNG: input, ground truth, prediction."""
    description = evaluation.answers.description
    numbers = _chosen(held_out, held_out.numbers(split))
    images, truths, predictions = [], [], []
    for number in numbers:
        blue, green, red = held_out.reflectance(number)[:3]
        images.append(true_colour(red, green, blue, brightest=3000))
        truths.append(land_cover(held_out.truth(number).codes))
        predictions.append(land_cover(predict(graph, description, held_out, number)[0]))
    codes = {int(code) for number in numbers for code in np.unique(held_out.truth(number).codes)} - {0}
    legend = sorted(codes | set(description.class_codes))
    figures = evaluation.figures["as_labelled"]
    title = (
        f"{description.model} on {held_out.report['name']}, {split}: accuracy "
        f"{figures['overall_accuracy']['value']:.1%}, mean F1 {figures['mean_f1']['value']:.2f}"
    )
    return png(input_truth_prediction(_sheet(images), _sheet(truths), _sheet(predictions), legend, title))


def _chosen(held_out: TrainingSet, numbers: Sequence[int]) -> list[int]:
    """Choose samples of every class in turn, those with the most labels first."""
    by_class: dict[int, list[int]] = {}
    pixels = held_out.samples["labelled_pixels"].to_numpy()
    for number in sorted(numbers, key=lambda number: -int(pixels[number])):
        codes = held_out.truth(number).codes
        by_class.setdefault(int(np.bincount(codes[codes > 0]).argmax()), []).append(number)
    chosen: list[int] = []
    while any(by_class.values()) and len(chosen) < _MOST_SAMPLES:
        chosen += [by_class[code].pop(0) for code in sorted(by_class) if by_class[code]]
    return chosen[:_MOST_SAMPLES]


def _sheet(images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Arrange images of any size in a nearly square grid on white."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    columns = int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for position, image in enumerate(images):
        top, left = position // columns * (height + _GAP), position % columns * (width + _GAP)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet
