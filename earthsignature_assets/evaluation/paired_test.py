"""Is one version better than another? Both judged on the same blocks, and what follows: promote, or hold.

The difference of two versions varies less than either figure, because hard places are hard for both: so its
interval comes from blocks drawn for both at once, and its p-value from exchanging the two versions' answers block
by block (the sign-flip randomisation test; Noreen 1989, *Computer-Intensive Methods for Testing Hypotheses*).
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
    scores,
)
from earthsignature_assets.evaluation.confusion import class_figures, mean_f1, overall_accuracy

SIGNIFICANT = 0.05
WORST_LOSS = 0.05
"""How much F1 a class may lose for certain, when the version is better on the whole."""


@dataclass(frozen=True)
class PairedTest:
    """The candidate's figures minus the current version's, on the same blocks.

    `p_value` is that of `mean_f1`, two-sided. `per_class_f1` are the differences of the classes that occur in the
    truth. `blocks` is how many blocks both were judged on.
    """

    blocks: int
    mean_f1: Interval
    overall_accuracy: Interval
    per_class_f1: dict[str, Interval]
    p_value: float


@dataclass(frozen=True)
class Verdict:
    """Whether a version should be promoted, and why."""

    promote: bool
    reason: str

    def __str__(self) -> str:
        return f"{'promote' if self.promote else 'hold'}: {self.reason}"


def paired_test(
    candidate: BlockCounts, current: BlockCounts, seed: int = 0, replicates: int = REPLICATES
) -> PairedTest:
    """Test the difference of two versions judged on the same blocks.

    Args:
        candidate: counts of the version in question; its classes may differ from those of the other.
        current: counts of the version to compare with.
        seed: the only source of chance.
        replicates: draws of the bootstrap, and of the randomisation.

    Raises:
        ValueError: the blocks, or the pixels of a block, are not the same: the test would be none.
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
    """How often exchanging the versions' answers at random makes as large a difference of the mean F1."""
    count, size = len(one.blocks), len(one.names)
    flips = np.random.default_rng([seed, 1]).integers(0, 2, (replicates, count)).astype(np.float64)
    left, right = one.counts.reshape(count, -1), other.counts.reshape(count, -1)
    # One matrix product instead of two: what a flip moves from one side it moves to the other.
    moved = flips @ (right - left)
    first = (left.sum(axis=0) + moved).reshape(-1, size, size)
    second = (right.sum(axis=0) - moved).reshape(-1, size, size)
    seen = abs(float(mean_f1(one.counts.sum(axis=0)) - mean_f1(other.counts.sum(axis=0))))
    as_large = np.abs(mean_f1(first) - mean_f1(second)) >= seen - 1e-12
    return float((1 + as_large.sum()) / (1 + replicates))


def verdict(test: PairedTest) -> Verdict:
    """Promote what is better for certain and loses no class; hold everything else.

    The mean F1 decides, since the accuracy alone rewards a version that gives up a rare class.
    """
    change = test.mean_f1
    chance = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    told = f"mean F1 {change.value:+.3f} ({change.low:+.3f} … {change.high:+.3f}), {chance}"
    if test.blocks < FEWEST_BLOCKS:
        return Verdict(False, f"{test.blocks} blocks are too few to compare versions on (at least {FEWEST_BLOCKS})")
    if change.high < 0:
        return Verdict(False, f"worse than the current version: {told}")
    if change.low <= 0 or test.p_value >= SIGNIFICANT:
        return Verdict(False, f"not told apart from the current version on {test.blocks} blocks: {told}")
    if test.overall_accuracy.high < 0:
        return Verdict(False, f"{told}, but the overall accuracy falls by {-test.overall_accuracy.value:.1%}")
    lost = {name: loss for name, loss in test.per_class_f1.items() if loss.high < -WORST_LOSS}
    if lost:
        named = ", ".join(f"{name} ({loss.value:+.2f})" for name, loss in lost.items())
        return Verdict(False, f"{told}, but these classes lose F1: {named}")
    return Verdict(True, f"better than the current version on {test.blocks} blocks: {told}")


def first_verdict(counts: BlockCounts) -> Verdict:
    """Judge a version that has none before it: it must beat always telling the commonest class."""
    blocks = len(counts.blocks)
    if blocks < FEWEST_BLOCKS:
        return Verdict(False, f"{blocks} blocks are too few to judge a version on (at least {FEWEST_BLOCKS})")
    accuracy = scores(counts).overall_accuracy
    total = counts.total.counts
    commonest = float(total.sum(axis=1).max() / total.sum())
    told = f"accuracy {accuracy.value:.2f} ({accuracy.low:.2f} … {accuracy.high:.2f}), commonest class {commonest:.2f}"
    if accuracy.low <= commonest:
        return Verdict(False, f"no better than always telling the commonest class: {told}")
    return Verdict(True, f"there is no current version to compare with; {told}")
