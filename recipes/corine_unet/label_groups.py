"""Figures on patches and polygons that carry one label each: EuroSAT and Hațeg."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.confusion import Confusion, confusion, majority
from earthsignature_assets.ground_truth.samples import VOID, Sample
from recipes.corine_unet.data import LabelledScene

HATEG_GROUPS = {
    "112": "artificial",
    "121": "artificial",
    "211": "arable",
    "222": "arable",
    "231": "grassland",
    "313": "forest",
    "321": "grassland",
    "512": "water",
}
"""The five classes that the Hațeg labels support, by predicted code."""


def group_table(codes: Sequence[int]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the groups of codes in order of first use, and a table (1000,) from code to position of its group."""
    names = tuple(dict.fromkeys(HATEG_GROUPS[str(code)] for code in codes))
    group_of = np.zeros(1000, np.int64)
    for code in codes:
        group_of[code] = names.index(HATEG_GROUPS[str(code)])
    return names, group_of


def judge_patches(
    samples: Sequence[Sample],
    predicted: Sequence[npt.NDArray[np.uint16]],
    label_codes: Mapping[str, int],
    codes: Sequence[int],
) -> dict[str, Any]:
    """Compute the figures of predictions on labelled patches.

    Args:
        samples: patches with their refined codes.
        predicted: codes of every patch, (height, width) uint16.
        label_codes: the code of each label; patches with a void label are left out.
        codes: the classes, in order.

    Returns:
        `pixels`: confusion over the pixels that carry the patch's label. `patches`: confusion of the patch's label with
        the most frequent code in the patch; of river patches, which are mostly banks, in the labelled pixels.
    """
    size = len(codes)
    names = tuple(str(code) for code in codes)
    pixels = patches = Confusion(names, np.zeros((size, size), np.int64))
    for sample, answer in zip(samples, predicted, strict=True):
        code = label_codes[sample.label]
        own = sample.codes == code
        if code == VOID or not own.any():
            continue
        pixels += confusion(np.where(own, sample.codes, VOID), answer, codes)
        seen = answer[own] if sample.label == "River" else answer
        patches += confusion(np.array([code]), np.array([majority(seen)]), codes)
    return {"pixels": pixels.to_dict(), "patches": patches.to_dict()}


def judge_polygons(
    scene: LabelledScene, numbers: Sequence[int], predicted: npt.NDArray[np.uint16], codes: Sequence[int]
) -> dict[str, Any]:
    """Compute the figures of the prediction of a scene on some of its polygons.

    Returns:
        `pixels`: confusion of codes; `pixels_grouped`: the same over the five classes of `HATEG_GROUPS`;
        `polygons_grouped`: one count a polygon, by its most frequent group; `share`: share of every code among all
        observed pixels of the scene.
    """
    pixels = confusion(scene.codes(numbers), predicted, codes)
    group_names, group_of = group_table(codes)
    counts = np.zeros((len(group_names), len(group_names)), np.int64)
    for number in numbers:
        answer = group_of[predicted[scene.polygons == number]]
        if answer.size:
            counts[group_of[scene.codes_of[number - 1]], majority(answer)] += 1
    observed = predicted[scene.reflectance.max(axis=0) > 0]
    return {
        "held_out_polygons": [int(number) for number in numbers],
        "pixels": pixels.to_dict(),
        "pixels_grouped": pixels.grouped(HATEG_GROUPS).to_dict(),
        "polygons_grouped": Confusion(group_names, counts).to_dict(),
        "share": {str(code): round(float((observed == code).mean()), 4) for code in codes},
    }
