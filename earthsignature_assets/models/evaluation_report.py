"""An evaluation for people: the page with its tables, and the picture of input, ground truth and prediction."""

import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.evaluation_table import COLUMNS
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.model_evaluation import Evaluation, answer, evaluate, predict
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.models.spatial_split import Split
from earthsignature_assets.models.training_set import TrainingSet
from earthsignature_assets.pictures import input_truth_prediction, land_cover, png, true_colour

FIGURES, PAGE, PICTURE, ANSWERS = "evaluation.json", "evaluation.md", "evaluation.png", "answers.parquet"
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
    """Judge a version, compare it with the current one, and write the evaluation into a folder.

    A version is not compared with itself.

    Raises:
        ModelError: a version is absent or damaged.
        GroundTruthError: the split is empty, or a version takes other bands.
    """
    answers = answer(repository, model, held_out, split, progress=progress)
    compared = answer(repository, current, held_out, split) if current and current != model else None
    evaluation = evaluate(answers, compared, held_out, split)
    write_evaluation(folder, evaluation, repository, held_out, split)
    return evaluation


def write_evaluation(
    folder: Path, evaluation: Evaluation, repository: ModelRepository, held_out: TrainingSet, split: Split
) -> None:
    """Write figures, page, picture and the counted answers into a folder, whole and at once."""
    partial = folder.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        text = json.dumps(evaluation.figures, indent=1, ensure_ascii=False) + "\n"
        (partial / FIGURES).write_text(text, encoding="utf-8")
        (partial / PAGE).write_text(evaluation_page(evaluation.figures), encoding="utf-8")
        graph = Graph(repository.graph(evaluation.answers.description.model))
        (partial / PICTURE).write_bytes(evaluation_picture(evaluation, graph, held_out, split))
        columns = ["sample", "cell", "region", "image", *COLUMNS]
        evaluation.answers.table[columns].to_parquet(partial / ANSWERS, index=False, compression="zstd")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def evaluation_picture(evaluation: Evaluation, graph: Graph, held_out: TrainingSet, split: Split) -> bytes:
    """A PNG of up to 25 samples of the split, as many of each class as there are: input, ground truth, prediction."""
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
    """Samples of every class in turn, those with the most labels first."""
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
    """Images of any size in rows and columns on white, as near to a square as there are."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    columns = int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for position, image in enumerate(images):
        top, left = position // columns * (height + _GAP), position % columns * (width + _GAP)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def evaluation_page(figures: Mapping[str, Any]) -> str:
    """The page of an evaluation in Markdown.

    Args:
        figures: `evaluation.json`.
    """
    labelled = figures["as_labelled"]
    sections = [
        evaluation_summary(figures),
        *_remarks(figures),
        "![input left, ground truth right above, prediction right below](evaluation.png)",
        *_comparison(figures),
        "## As far as each label goes",
        _classes(labelled),
        _matrix(labelled),
        *(_level(level, found) for level, found in figures["levels"].items()),
        _calibration(figures["calibration"]),
        _regions(figures["regions"]),
    ]
    return "\n\n".join(sections) + "\n"


def evaluation_summary(figures: Mapping[str, Any]) -> str:
    """The verdict, what it rests on, and the two figures that sum it up, in Markdown."""
    held_out, labelled = figures["set"], figures["as_labelled"]
    word = "Promote" if figures["verdict"]["promote"] else "Hold"
    return "\n\n".join(
        [
            f"# {figures['model']} on {held_out['name']}",
            f"**{word}**: {figures['verdict']['reason']}.",
            f"{figures['independence']}.",
            f"{held_out['samples']} samples of the split `{held_out['split']}` in {held_out['cells']} cells, "
            f"{labelled['pixels']:,} labelled pixels. Intervals are 95 %, from resampled {figures['blocks']}s, never "
            "from pixels as if they were independent; a figure of fewer than ten of them has none.",
            f"Overall accuracy {_interval(labelled['overall_accuracy'])}, mean F1 {_interval(labelled['mean_f1'])}.",
        ]
    )


def _remarks(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    if figures["unanswered_pixels"]:
        lines.append(f"{figures['unanswered_pixels']:,} labelled pixels got no class.")
    if figures["level_1c_samples_with_path_radiance_taken_off"]:
        lines.append(
            f"{figures['level_1c_samples_with_path_radiance_taken_off']} samples are level-1C: typical path radiance "
            "was taken off them, because the version reads level-2A."
        )
    return lines


def _comparison(figures: Mapping[str, Any]) -> list[str]:
    test = figures["paired_test"]
    if test is None:
        return []
    rows = [
        f"| mean F1 | {_interval(test['mean_f1'], signed=True)} |",
        f"| overall accuracy | {_interval(test['overall_accuracy'], signed=True)} |",
        *(f"| F1 of {name} | {_interval(change, signed=True)} |" for name, change in test["per_class_f1"].items()),
    ]
    return [
        f"## Beside {figures['current']}",
        f"The same {test['blocks']} blocks, this version minus that one; p = {test['p_value']:.4f} for the mean F1 (by "
        "exchanging the answers of blocks at random).",
        "| Figure | Difference |\n|---|---|\n" + "\n".join(rows),
    ]


def _classes(judged: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {_interval(own['recall'])} | {_interval(own['precision'])} | {_interval(own['f1'])} | "
        f"{_interval(own['iou'])} | {own['support']:,} | {own['blocks']} |"
        for name, own in judged["per_class"].items()
        if own["support"]
    ]
    head = "| Class | Recall | Precision | F1 | IoU | Pixels | Blocks |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _matrix(judged: Mapping[str, Any]) -> str:
    rows = [
        f"| **{name}** | {' | '.join(f'{count:,}' for count in counts)} |"
        for name, counts in zip(judged["classes"], judged["counts"], strict=True)
        if any(counts)
    ]
    head = f"| truth \\ predicted | {' | '.join(judged['classes'])} |\n|{'---|' * (len(judged['classes']) + 1)}\n"
    return head + "\n".join(rows)


def _level(level: str, found: Mapping[str, Any]) -> str:
    title = f"## CORINE level {level}"
    if not found["pixels"]:
        return f"{title}\n\nNo label goes that far: nothing can be said at this level."
    told = f"{found['pixels']:,} pixels whose label goes that far"
    if found["pixels_known_less_finely"]:
        told += f" ({found['pixels_known_less_finely']:,} do not)"
    if found["unclaimed_codes"]:
        told += f"; the version does not claim {', '.join(map(str, found['unclaimed_codes']))} at this level"
    accuracy = f"Overall accuracy {_interval(found['overall_accuracy'])}, mean F1 {_interval(found['mean_f1'])}."
    return "\n\n".join([title, f"{told}. {accuracy}", _classes(found), _matrix(found)])


def _calibration(found: Mapping[str, Any]) -> str:
    rows = [
        f"| {entry['low']}–{entry['high']} % | {entry['pixels']:,} | {entry['confidence']:.2f} | "
        f"{entry['accuracy']:.2f} |"
        for entry in found["bins"]
    ]
    tendency = "too sure" if found["overconfident"] > 0 else "too modest"
    return "\n\n".join(
        [
            "## Confidence",
            f"Expected calibration error {_interval(found['expected_error'])}; on the whole {tendency} by "
            f"{abs(found['overconfident']):.1%}.",
            "| Confidence | Pixels | Mean confidence | Right |\n|---|---|---|---|\n" + "\n".join(rows),
        ]
    )


def _regions(regions: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {_interval(found['overall_accuracy'])} | {_interval(found['mean_f1'])} | {found['pixels']:,} | "
        f"{found['blocks']} |"
        for name, found in regions.items()
    ]
    head = "## Regions\n\n| Region | Overall accuracy | Mean F1 | Pixels | Blocks |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _interval(interval: Mapping[str, float | None], signed: bool = False) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    form = "+.2f" if signed else ".2f"
    return format(value, form) + (f" ({low:{form}} … {high:{form}})" if low is not None else "")
