"""How good a model is: confusion matrices and the figures that follow from them. Pure numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.models.ground_truth import VOID, LabelledScene, Sample

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
"""The five classes that the Hațeg labels can confirm: what a predicted code counts as when judged by them."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix: `counts[i, j]` pixels (or patches) of true class i were predicted as class j.

    `names` are the classes of both axes in order; `counts` is (K, K) int64.
    """

    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        size = len(self.names)
        if self.counts.shape != (size, size):
            raise ValueError(f"{size} classes need a matrix of {size} × {size}, not {self.counts.shape}")

    def __add__(self, other: "Confusion") -> "Confusion":
        if self.names != other.names:
            raise ValueError(f"matrices of different classes do not add up: {self.names} and {other.names}")
        return Confusion(self.names, self.counts + other.counts)

    @property
    def total(self) -> int:
        """How many pixels (or patches) were counted."""
        return int(self.counts.sum())

    @property
    def overall_accuracy(self) -> float:
        """The share on the diagonal; NaN when nothing was counted."""
        return _ratio(float(np.trace(self.counts)), self.total)

    @property
    def mean_f1(self) -> float:
        """Mean F1 of the classes that occur in the truth; NaN when nothing was counted."""
        figures = [figure["f1"] for figure in self.per_class().values() if figure["support"]]
        return float(np.mean(figures)) if figures else float("nan")

    def per_class(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1, IoU and support of every class; a figure without any case is NaN.

        F1 and IoU count a class that is never predicted rightly as 0, not as NaN, once it occurs at all.
        """
        right = np.diag(self.counts).astype(float)
        truth = self.counts.sum(axis=1).astype(float)
        predicted = self.counts.sum(axis=0).astype(float)
        return {
            name: {
                "precision": _ratio(right[k], predicted[k]),
                "recall": _ratio(right[k], truth[k]),
                "f1": _ratio(2 * right[k], truth[k] + predicted[k]),
                "iou": _ratio(right[k], truth[k] + predicted[k] - right[k]),
                "support": int(truth[k]),
            }
            for k, name in enumerate(self.names)
        }

    def grouped(self, groups: Mapping[str, str]) -> "Confusion":
        """Merge classes: `groups` gives the new name of every class; new names keep the order of first use."""
        names = tuple(dict.fromkeys(groups[name] for name in self.names))
        member = np.array([[groups[name] == new for name in self.names] for new in names], np.int64)
        return Confusion(names, member @ self.counts @ member.T)

    def to_dict(self) -> dict[str, Any]:
        """Counts and figures for a JSON file; NaN becomes null."""
        per_class = {
            name: {figure: _json_number(value) for figure, value in figures.items()}
            for name, figures in self.per_class().items()
        }
        return {
            "classes": list(self.names),
            "counts": self.counts.tolist(),
            "total": self.total,
            "overall_accuracy": _json_number(self.overall_accuracy),
            "mean_f1": _json_number(self.mean_f1),
            "per_class": per_class,
        }


def confusion(
    truth: npt.NDArray[np.integer[Any]], predicted: npt.NDArray[np.integer[Any]], codes: Sequence[int]
) -> Confusion:
    """Count codes against codes; pixels whose truth is none of `codes` (void) are left out.

    Args:
        truth: codes of any shape.
        predicted: codes of the same shape; every one where the truth counts must be in `codes`.
        codes: the classes, in order.

    Raises:
        ValueError: the shapes differ, or a predicted code is none of `codes`.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} differ in shape")
    counted = np.isin(truth, codes)
    order = np.argsort(codes)
    ascending = np.asarray(codes)[order]
    if not np.isin(predicted[counted], codes).all():
        raise ValueError(f"a predicted code is none of {list(codes)}")
    rows = order[np.searchsorted(ascending, truth[counted])]
    columns = order[np.searchsorted(ascending, predicted[counted])]
    size = len(codes)
    counts = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
    return Confusion(tuple(str(code) for code in codes), counts.astype(np.int64))


def majority(predicted: npt.NDArray[np.integer[Any]]) -> int:
    """The most frequent code; of equally frequent ones the smallest.

    Raises:
        ValueError: there is no pixel.
    """
    if not predicted.size:
        raise ValueError("the majority of no pixel is undefined")
    values, counts = np.unique(predicted, return_counts=True)
    return int(values[counts.argmax()])


def judge_patches(
    samples: Sequence[Sample],
    predicted: Sequence[npt.NDArray[np.uint16]],
    label_codes: Mapping[str, int],
    codes: Sequence[int],
) -> dict[str, Any]:
    """Judge predictions of labelled patches.

    Args:
        samples: patches with their refined codes.
        predicted: codes of every patch, (height, width) uint16.
        label_codes: the code of a patch's label; patches whose label is void are left out.
        codes: the classes, in order.

    Returns:
        `pixels`: confusion over the pixels that carry the patch's own label. `patches`: confusion of the patch's
        label with the most frequent code, over the whole patch where the label covers the patch, over the pixels
        that carry the label for rivers, whose patches are mostly banks.
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
    """Judge the prediction of a whole scene by some of its polygons.

    Returns:
        `pixels`: confusion of codes; `pixels_grouped`: the same over the five classes that the labels can confirm
        (`HATEG_GROUPS`); `polygons_grouped`: one count a polygon, by its most frequent group; `share`: the share of
        every code among all observed pixels of the scene.
    """
    pixels = confusion(scene.codes(numbers), predicted, codes)
    group_names = tuple(dict.fromkeys(HATEG_GROUPS[str(code)] for code in codes))
    group_of = np.zeros(1000, np.uint16)
    for code in codes:
        group_of[code] = group_names.index(HATEG_GROUPS[str(code)])
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


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _json_number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
