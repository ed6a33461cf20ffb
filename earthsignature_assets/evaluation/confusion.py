"""Confusion matrices and their figures. Pure numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Figures = npt.NDArray[np.float64]


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
        """Number of counted pixels (or patches)."""
        return int(self.counts.sum())

    @property
    def overall_accuracy(self) -> float:
        """Share on the diagonal; NaN when nothing was counted."""
        return float(overall_accuracy(self.counts))

    @property
    def mean_f1(self) -> float:
        """Mean F1 of the classes that occur in the truth; NaN when nothing was counted."""
        return float(mean_f1(self.counts))

    def per_class(self) -> dict[str, dict[str, float]]:
        """Compute precision, recall, F1, IoU and support of every class; a figure without any case is NaN.

        F1 and IoU of a class that occurs and is never predicted correctly are 0, not NaN.
        """
        figures = class_figures(self.counts)
        support = self.counts.sum(axis=1)
        return {
            name: {figure: float(values[k]) for figure, values in figures.items()} | {"support": int(support[k])}
            for k, name in enumerate(self.names)
        }

    def grouped(self, groups: Mapping[str, str]) -> "Confusion":
        """Merge classes: `groups` gives the new name of every class; new names keep the order of first use."""
        names = tuple(dict.fromkeys(groups[name] for name in self.names))
        member = np.array([[groups[name] == new for name in self.names] for new in names], np.int64)
        return Confusion(names, member @ self.counts @ member.T)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and figures for a JSON file; NaN becomes null."""
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
    """Count predicted codes against true codes; pixels whose true code is not in `codes` (void) are left out.

    Args:
        truth: codes of any shape.
        predicted: codes of the same shape; those of counted pixels must be in `codes`.
        codes: the classes, in order.

    Raises:
        ValueError: the shapes differ, or a predicted code is not in `codes`.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} differ in shape")
    counted = np.isin(truth, codes)
    order = np.argsort(codes)
    ascending = np.asarray(codes)[order]
    if not np.isin(predicted[counted], codes).all():
        raise ValueError(f"a predicted code is not one of {list(codes)}")
    rows = order[np.searchsorted(ascending, truth[counted])]
    columns = order[np.searchsorted(ascending, predicted[counted])]
    size = len(codes)
    counts = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
    return Confusion(tuple(str(code) for code in codes), counts.astype(np.int64))


def majority(predicted: npt.NDArray[np.integer[Any]]) -> int:
    """Return the most frequent code; of equally frequent ones the smallest.

    Raises:
        ValueError: there is no pixel.
    """
    if not predicted.size:
        raise ValueError("the majority of no pixel is undefined")
    values, counts = np.unique(predicted, return_counts=True)
    return int(values[counts.argmax()])


def overall_accuracy(counts: npt.NDArray[Any]) -> Figures:
    """Compute the share on the diagonal of matrices (…, K, K): (…) float64, NaN where nothing was counted."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def class_figures(counts: npt.NDArray[Any]) -> dict[str, Figures]:
    """Compute precision, recall, F1 and IoU per class of matrices (…, K, K): (…, K) float64, NaN without a case."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    truth, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, truth),
        "f1": _ratio(2 * right, truth + predicted),
        "iou": _ratio(right, truth + predicted - right),
    }


def mean_f1(counts: npt.NDArray[Any]) -> Figures:
    """Compute the mean F1 of the classes in the truth of matrices (…, K, K): (…) float64, NaN without a class."""
    occurs = counts.sum(axis=-1) > 0
    figures = np.where(occurs, class_figures(counts)["f1"], 0.0)
    return _ratio(figures.sum(axis=-1), occurs.sum(axis=-1))


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Figures:
    """Divide; NaN where the whole is 0."""
    whole = np.asarray(whole, float)
    share: Figures = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)
    return share


def _json_number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
