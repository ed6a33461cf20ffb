"""The paired test of two model versions on the same blocks.

The difference of two versions varies less than either figure, because hard places are hard for both. Its interval
therefore comes from blocks drawn for both at once, and its p-value from exchanging the two versions' answers block by
block (the sign-flip randomisation test; Noreen 1989, *Computer-Intensive Methods for Testing Hypotheses*).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.block_counts import (
    FEWEST_BLOCKS,
    REPLICATES,
    BlockCounts,
    Interval,
    bounds,
)
from earthsignature_assets.evaluation.confusion import class_figures, mean_f1, overall_accuracy


@dataclass(frozen=True)
class PairedTest:
    """The candidate's figures minus the current version's, on the same blocks.

    `p_value` is the two-sided p-value of `mean_f1`. `per_class_f1` holds the differences of the classes that occur in
    the truth. `blocks` is the number of blocks.
    """

    blocks: int
    mean_f1: Interval
    overall_accuracy: Interval
    per_class_f1: dict[str, Interval]
    p_value: float


def paired_test(
    candidate: BlockCounts, current: BlockCounts, seed: int = 0, replicates: int = REPLICATES
) -> PairedTest:
    """Test the difference of two versions on the same blocks.

    Args:
        candidate: counts of the version to test; its classes may differ from those of the other.
        current: counts of the version to compare with.
        seed: seed of both resamplings.
        replicates: draws of the bootstrap and of the randomisation.

    Raises:
        ValueError: the blocks, or the pixels of a block, differ.
    """
    blocks = candidate.blocks
    if sorted(blocks) != sorted(current.blocks):
        raise ValueError("a paired test needs the same blocks for both versions")
    names = tuple(dict.fromkeys([*candidate.names, *current.names]))
    one, other = candidate.aligned(names, blocks), current.aligned(names, blocks)
    if not (one.counts.sum(axis=2) == other.counts.sum(axis=2)).all():
        raise ValueError("a paired test needs the same labelled pixels for both versions")
    drawn = (one.resampled(seed, replicates), other.resampled(seed, replicates))
    enough = len(blocks) >= FEWEST_BLOCKS

    def difference(value: float, resampled: npt.NDArray[np.float64]) -> Interval:
        return Interval(value, *(bounds(resampled) if enough else (np.nan, np.nan)))

    totals = (one.counts.sum(axis=0), other.counts.sum(axis=0))
    f1 = [class_figures(total)["f1"] for total in totals]
    drawn_f1 = [class_figures(matrices)["f1"] for matrices in drawn]
    occurs = totals[0].sum(axis=1) > 0
    return PairedTest(
        blocks=len(blocks),
        mean_f1=difference(float(mean_f1(totals[0]) - mean_f1(totals[1])), mean_f1(drawn[0]) - mean_f1(drawn[1])),
        overall_accuracy=difference(
            float(overall_accuracy(totals[0]) - overall_accuracy(totals[1])),
            overall_accuracy(drawn[0]) - overall_accuracy(drawn[1]),
        ),
        per_class_f1={
            name: difference(float(f1[0][k] - f1[1][k]), drawn_f1[0][:, k] - drawn_f1[1][:, k])
            for k, name in enumerate(names)
            if occurs[k]
        },
        p_value=_p_value(one, other, seed, replicates),
    )


def _p_value(one: BlockCounts, other: BlockCounts, seed: int, replicates: int) -> float:
    """Compute how often exchanging the versions' answers at random gives as large a difference of the mean F1."""
    count, size = len(one.blocks), len(one.names)
    flips = np.random.default_rng([seed, 1]).integers(0, 2, (replicates, count)).astype(np.float64)
    left, right = one.counts.reshape(count, -1), other.counts.reshape(count, -1)
    # One matrix product instead of two: a flip moves the same counts from one side to the other.
    moved = flips @ (right - left)
    first = (left.sum(axis=0) + moved).reshape(-1, size, size)
    second = (right.sum(axis=0) - moved).reshape(-1, size, size)
    seen = abs(float(mean_f1(one.counts.sum(axis=0)) - mean_f1(other.counts.sum(axis=0))))
    as_large = np.abs(mean_f1(first) - mean_f1(second)) >= seen - 1e-12
    return float((1 + as_large.sum()) / (1 + replicates))
