"""Confusion counts of blocks (patches, polygons, cells), and figures with intervals from resampled blocks.

Pixels of one patch, polygon or cell resemble each other: the uncertainty of a figure follows from the number of places,
not from the number of pixels. The bootstrap therefore draws blocks (Olofsson et al. 2014, *Remote Sensing of
Environment* 148, on clusters as sampling units; Efron and Tibshirani 1993 for the percentile interval), never pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.confusion import Confusion, Figures, class_figures, mean_f1, overall_accuracy

REPLICATES = 2000
CONFIDENCE = 0.95
FEWEST_BLOCKS = 10
"""With fewer blocks no interval is given: resampling a handful of places understates the uncertainty."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; the bounds are NaN where there are too few blocks."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Confusion matrices of blocks: `counts[b, i, j]` pixels of class i in block b were predicted as class j.

    `names` are the classes of both axes in order, `blocks` the names of the blocks; `counts` is (B, K, K) int64.
    """

    names: tuple[str, ...]
    blocks: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        expected = (len(self.blocks), len(self.names), len(self.names))
        if self.counts.shape != expected:
            raise ValueError(f"{expected[0]} blocks of {expected[1]} classes need {expected}, not {self.counts.shape}")

    @property
    def total(self) -> Confusion:
        """Sum of all blocks."""
        return Confusion(self.names, self.counts.sum(axis=0))

    def aligned(self, names: Sequence[str], blocks: Sequence[str]) -> "BlockCounts":
        """Return the same counts for these classes and blocks, in this order; absent ones get 0.

        Raises:
            ValueError: a class or a block of these counts is missing from the arguments.
        """
        if missing := (set(self.names) - set(names)) | (set(self.blocks) - set(blocks)):
            raise ValueError(f"counts of {', '.join(sorted(missing))} would be lost")
        counts = np.zeros((len(blocks), len(names), len(names)), np.int64)
        at_block = [list(blocks).index(block) for block in self.blocks]
        at_name = [list(names).index(name) for name in self.names]
        counts[np.ix_(at_block, at_name, at_name)] = self.counts
        return BlockCounts(tuple(names), tuple(blocks), counts)

    def resampled(self, seed: int = 0, replicates: int = REPLICATES) -> npt.NDArray[np.float64]:
        """Sum as many blocks, drawn with replacement: (replicates, K, K) float64; equal seeds give equal draws."""
        count, size = len(self.blocks), len(self.names)
        draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)
        sums = draws.astype(np.float64) @ self.counts.reshape(count, -1)
        return sums.reshape(replicates, size, size)


@dataclass(frozen=True)
class ClassScores:
    """Figures of one class; `support` is the number of its pixels, `blocks` the number of blocks that hold it."""

    precision: Interval
    recall: Interval
    f1: Interval
    iou: Interval
    support: int
    blocks: int


@dataclass(frozen=True)
class Scores:
    """Figures of a confusion matrix with their intervals."""

    overall_accuracy: Interval
    mean_f1: Interval
    per_class: dict[str, ClassScores]


def scores(counts: BlockCounts, seed: int = 0, replicates: int = REPLICATES) -> Scores:
    """Compute every figure with its interval over blocks.

    Raises:
        ValueError: there is no block.
    """
    if not counts.blocks:
        raise ValueError("figures of no block are undefined")
    total = counts.total.counts
    drawn = counts.resampled(seed, replicates) if len(counts.blocks) >= FEWEST_BLOCKS else None

    def interval(figure: Callable[[npt.NDArray[Any]], Figures]) -> Interval:
        low, high = bounds(figure(drawn)) if drawn is not None else (np.nan, np.nan)
        return Interval(float(figure(total)), low, high)

    holding = (counts.counts.sum(axis=2) > 0).sum(axis=0)
    resampled = class_figures(drawn) if drawn is not None else {}
    per_class = {}
    for k, name in enumerate(counts.names):
        figures = {}
        for figure, values in class_figures(total).items():
            # A class in a few blocks is as uncertain as a set of a few blocks.
            enough = drawn is not None and holding[k] >= FEWEST_BLOCKS
            low, high = bounds(resampled[figure][:, k]) if enough else (np.nan, np.nan)
            figures[figure] = Interval(float(values[k]), low, high)
        per_class[name] = ClassScores(**figures, support=int(total[k].sum()), blocks=int(holding[k]))
    return Scores(interval(overall_accuracy), interval(mean_f1), per_class)


def bounds(drawn: Figures) -> tuple[float, float]:
    """Return the percentile interval of a resampled figure, (replicates,) float64; NaN where no replicate has it."""
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
