"""Evaluation of a version on held-out samples of a training set, alone and against the current version."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.evaluation.block_counts import FEWEST_BLOCKS, scores
from earthsignature_assets.evaluation.calibration import calibration
from earthsignature_assets.evaluation.evaluation_table import Scheme, block_counts, tally
from earthsignature_assets.evaluation.paired_test import PairedTest, paired_test
from earthsignature_assets.evaluation.promotion_decision import (
    PromotionDecision,
    decide_first_promotion,
    decide_promotion,
)
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph, padded
from earthsignature_assets.models.repository import ModelDescription, ModelRepository
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.training.augmentation import at_level

_LEVELS = (Scheme.LEVEL_1, Scheme.LEVEL_2, Scheme.LEVEL_3)


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a version on held-out samples.

    `table` has the columns of `evaluation_table`, and `sample`, `cell`, `region` and `image`. `unanswered` is the
    number of labelled pixels without a predicted class, `brought_down` the number of level-1C samples that lost typical
    path radiance.
    """

    description: ModelDescription
    table: pd.DataFrame
    unanswered: int
    brought_down: int

    @property
    def block(self) -> str:
        """Column of the blocks: cells of the split, or samples where there are too few cells."""
        return "cell" if self.table["cell"].nunique() >= FEWEST_BLOCKS else "sample"


def answer(
    repository: ModelRepository,
    model: ModelVersion,
    held_out: TrainingSet,
    split: Split = Split.TEST,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """Run a version on the samples of a split, with ONNX Runtime in this process.

    Raises:
        ModelError: the version is absent or damaged.
        GroundTruthError: the split is empty, or the bands of model and set differ.
    """
    description = repository.describe(model)
    if description.bands != S2_BANDS:
        raise GroundTruthError(f"{model} takes {', '.join(description.bands)}, the set has {', '.join(S2_BANDS)}")
    numbers = held_out.numbers(split)
    if not numbers:
        raise GroundTruthError(f"{held_out.folder} has no sample in the split {split}")
    graph = Graph(repository.graph(model), threads)
    tables, unanswered, brought_down = [], 0, 0
    for done, number in enumerate(numbers, 1):
        row = held_out.samples.iloc[number]
        predicted, confidence = predict(graph, description, held_out, number)
        counted, lost = tally(held_out.truth(number), predicted, confidence)
        unanswered += lost
        brought_down += row["level"] == "L1C" and description.level == "L2A"
        region = row["region"] or f"UTM zone {row['epsg'] % 100}"
        tables.append(counted.assign(sample=row["name"], cell=row["cell"], region=region, image=row["image"]))
        if progress:
            progress(done, len(numbers))
    return Answers(description, pd.concat(tables, ignore_index=True), unanswered, int(brought_down))


def predict(
    graph: Graph, description: ModelDescription, held_out: TrainingSet, number: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Predict codes uint16 and confidence in percent uint8, (height, width) each, of one sample."""
    image = at_level(held_out.sample(number), description.level)
    height, width = image.shape[1:]
    index, confidence = graph.run(padded(image, description.stride)[None])
    return description.code_table[index[0, :height, :width]], confidence[0, :height, :width]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of a version, and the comparison with the current version if there is one.

    `figures` are plain values for a JSON file.
    """

    answers: Answers
    current: ModelVersion | None
    test: PairedTest | None
    verdict: PromotionDecision
    figures: dict[str, Any]


def evaluate(candidate: Answers, current: Answers | None, held_out: TrainingSet, split: Split) -> Evaluation:
    """Compute the figures of a version, and decide whether it should be promoted.

    Args:
        candidate: the answers of the version to evaluate.
        current: the answers of the version that is served now, or None.
        held_out: the set of both.
        split: the split of both.
    """
    block = candidate.block
    own = block_counts(candidate.table, Scheme.AS_LABELLED, block)
    test, decision = None, decide_first_promotion(own)
    if current is not None:
        test = paired_test(own, block_counts(current.table, Scheme.AS_LABELLED, block))
        decision = decide_promotion(test)
    figures: dict[str, Any] = {
        "model": str(candidate.description.model),
        "sha256": candidate.description.sha256,
        "set": {
            "name": held_out.report["name"],
            "identity": held_out.identity,
            "split": str(split),
            "samples": int(candidate.table["sample"].nunique()),
            "cells": int(candidate.table["cell"].nunique()),
        },
        "blocks": block,
        "independence": independence(candidate.description, held_out),
        "unanswered_pixels": candidate.unanswered,
        "level_1c_samples_with_path_radiance_taken_off": candidate.brought_down,
        "as_labelled": _judged(candidate.table, Scheme.AS_LABELLED, block),
        "levels": {str(scheme.value): _level(candidate, scheme, block) for scheme in _LEVELS},
        "calibration": _plain(asdict(calibration(candidate.table, block))),
        "regions": {str(region): _region(part, block) for region, part in candidate.table.groupby("region", sort=True)},
        "current": str(current.description.model) if current else None,
        "paired_test": _plain(asdict(test)) if test else None,
        "verdict": {"promote": decision.promote, "reason": decision.reason},
    }
    return Evaluation(candidate, current.description.model if current else None, test, decision, figures)


def independence(description: ModelDescription, held_out: TrainingSet) -> str:
    """Return a clause on whether the version may have seen the held-out samples."""
    if description.training_set == held_out.identity:
        return f"{description.model} was trained on other places of this set"
    if description.training_set:
        return f"{description.model} was trained on another set, whose places may be among these"
    return f"{description.model} does not name its training set: it may have seen these places"


def _judged(table: pd.DataFrame, scheme: Scheme, block: str) -> dict[str, Any]:
    counts = block_counts(table, scheme, block)
    return {
        "classes": list(counts.names),
        "counts": counts.total.counts.tolist(),
        "pixels": counts.total.total,
        "blocks": len(counts.blocks),
        **_plain(asdict(scores(counts))),
    }


def _level(answers: Answers, scheme: Scheme, block: str) -> dict[str, Any]:
    """Compute the figures of a level, with the codes that the version claims only to a coarser level."""
    level = scheme.value
    counts = block_counts(answers.table, scheme, block)
    left_out = int(answers.table["pixels"].sum()) - counts.total.total
    unclaimed = [entry.code for entry in answers.description.classes if entry.supported_level < level]
    known = {"unclaimed_codes": unclaimed, "pixels_known_less_finely": left_out}
    return known | (_judged(answers.table, scheme, block) if counts.blocks else {"pixels": 0})


def _region(table: pd.DataFrame, block: str) -> dict[str, Any]:
    counts = block_counts(table, Scheme.AS_LABELLED, block)
    found = scores(counts)
    return {
        "blocks": len(counts.blocks),
        "pixels": counts.total.total,
        "overall_accuracy": _plain(asdict(found.overall_accuracy)),
        "mean_f1": _plain(asdict(found.mean_f1)),
    }


def _plain(value: Any) -> Any:
    """Convert to values for JSON: NaN becomes null, floats are rounded to four digits."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(float(value), 4)
    return value
