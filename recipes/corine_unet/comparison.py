"""Comparison of two versions or recipes on the same held-out patches and polygons. Pure numpy.

The units of every interval and test are patches and polygons, not their pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.block_counts import BlockCounts
from earthsignature_assets.evaluation.paired_test import PairedTest, paired_test
from recipes.corine_unet.data import CLASS_CODES, LabelledScene
from recipes.corine_unet.label_groups import group_table

GROUPS, _GROUP_OF = group_table(CLASS_CODES)
"""The five classes that the Hațeg labels support."""


def patch_counts(answers: Mapping[str, Mapping[str, Any]]) -> BlockCounts:
    """Count each patch with a pixel of its label's code once: label against most frequent code, see `patch_answer`."""
    names = tuple(str(code) for code in CLASS_CODES)
    judged = {name: answer for name, answer in sorted(answers.items()) if answer["right"] is not None}
    counts = np.zeros((len(judged), len(names), len(names)), np.int64)
    for number, answer in enumerate(judged.values()):
        counts[number, names.index(str(answer["code"])), names.index(str(answer["predicted"]))] = 1
    return BlockCounts(names, tuple(judged), counts)


def polygon_counts(scene: LabelledScene, numbers: Sequence[int], predicted: npt.NDArray[np.uint16]) -> BlockCounts:
    """Count the pixels of each polygon over the five classes that the labels support.

    Args:
        scene: the labelled scene.
        numbers: the polygons; those without a pixel are left out.
        predicted: codes, (height, width).
    """
    found = {}
    for number in numbers:
        pixels = _GROUP_OF[predicted[scene.polygons == number]]
        if pixels.size:
            matrix = np.zeros((len(GROUPS), len(GROUPS)), np.int64)
            matrix[_GROUP_OF[scene.codes_of[number - 1]]] = np.bincount(pixels, minlength=len(GROUPS))
            found[str(number)] = matrix
    return BlockCounts(GROUPS, tuple(found), np.stack(list(found.values())))


def summed(parts: Sequence[BlockCounts]) -> BlockCounts:
    """Sum counts block by block: of several networks or folds, or of one scene under several atmospheres."""
    names, blocks = parts[0].names, tuple(dict.fromkeys(block for part in parts for block in part.blocks))
    return BlockCounts(names, blocks, np.sum([part.aligned(names, blocks).counts for part in parts], axis=0))


def compared(candidate: BlockCounts, current: BlockCounts) -> dict[str, Any]:
    """Return both accuracies, their paired difference with its 95 % interval, and the p-value, for a JSON file."""
    test: PairedTest = paired_test(candidate, current)
    return {
        "blocks": test.blocks,
        "candidate_accuracy": round(candidate.total.overall_accuracy, 4),
        "current_accuracy": round(current.total.overall_accuracy, 4),
        "accuracy_difference": [round(value, 4) for value in _bounds(test.overall_accuracy)],
        "candidate_mean_f1": round(candidate.total.mean_f1, 4),
        "current_mean_f1": round(current.total.mean_f1, 4),
        "mean_f1_difference": [round(value, 4) for value in _bounds(test.mean_f1)],
        "mean_f1_p_value": round(test.p_value, 4),
    }


def _bounds(interval: Any) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
