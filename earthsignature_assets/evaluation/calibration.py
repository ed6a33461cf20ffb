"""Calibration of the confidence: the reliability table and the expected calibration error."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earthsignature_assets.evaluation.block_counts import FEWEST_BLOCKS, REPLICATES, Interval, bounds
from earthsignature_assets.evaluation.confusion import Figures
from earthsignature_assets.evaluation.evaluation_table import agreeing

_EDGES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels with a confidence of at least `low` and less than `high` percent (100 belongs to the last bin).

    `confidence` is their mean confidence, `accuracy` the share of correct ones, both 0…1.
    """

    low: int
    high: int
    pixels: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The reliability table and the expected calibration error (Guo et al. 2017, ICML), 0…1.

    `overconfident` is the mean confidence minus the accuracy; above 0 the version is overconfident.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_error: Interval
    overconfident: float


def calibration(table: pd.DataFrame, block: str = "sample", seed: int = 0) -> Calibration:
    """Measure the calibration of the answers of a table, with an interval from resampled blocks.

    Args:
        table: rows as in `evaluation_table`, at least one.
        block: the column that names the blocks.
        seed: seed of the resampling.
    """
    bin_of = np.minimum(table["confidence"].to_numpy() // 10, len(_EDGES) - 2)
    blocks, block_of = np.unique(table[block], return_inverse=True)
    pixels = table["pixels"].to_numpy()
    # For every block and bin: pixels, correct pixels, and the sum of the confidence.
    sums = np.zeros((len(blocks), len(_EDGES) - 1, 3))
    weights = np.column_stack([pixels, pixels * agreeing(table), pixels * table["confidence"].to_numpy() / 100])
    np.add.at(sums, (block_of, bin_of), weights)
    total = sums.sum(axis=0)
    low, high = np.nan, np.nan
    if len(blocks) >= FEWEST_BLOCKS:
        draws = np.random.default_rng(seed).multinomial(
            len(blocks), np.full(len(blocks), 1 / len(blocks)), size=REPLICATES
        )
        low, high = bounds(_error(np.tensordot(draws.astype(float), sums, axes=1)))
    bins = tuple(
        ReliabilityBin(_EDGES[k], _EDGES[k + 1], int(total[k, 0]), total[k, 2] / total[k, 0], total[k, 1] / total[k, 0])
        for k in range(len(total))
        if total[k, 0]
    )
    everything = total.sum(axis=0)
    return Calibration(
        bins, Interval(float(_error(total)), low, high), float((everything[2] - everything[1]) / everything[0])
    )


def _error(sums: Figures) -> Figures:
    """Compute the mean distance of confidence and accuracy over bins (…, bins, 3), weighted by pixels: (…) float64."""
    error: Figures = np.abs(sums[..., 2] - sums[..., 1]).sum(axis=-1) / sums[..., 0].sum(axis=-1)
    return error
