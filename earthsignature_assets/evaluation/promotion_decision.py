"""The promotion decision: whether a model version should replace the current one, and why."""

from dataclasses import dataclass

from earthsignature_assets.evaluation.block_counts import FEWEST_BLOCKS, BlockCounts, scores
from earthsignature_assets.evaluation.paired_test import PairedTest

SIGNIFICANT = 0.05
WORST_LOSS = 0.05
"""Largest significant loss of F1 of a class at which a version that is better on average is promoted."""


@dataclass(frozen=True)
class PromotionDecision:
    """The decision to promote a version or hold it, with the reason."""

    promote: bool
    reason: str

    def __str__(self) -> str:
        return f"{'promote' if self.promote else 'hold'}: {self.reason}"


def decide_promotion(test: PairedTest) -> PromotionDecision:
    """Promote a version that is significantly better and loses no class; hold every other one.

    The mean F1 decides, because the accuracy alone rewards a version that gives up a rare class.
    """
    change = test.mean_f1
    chance = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    figures = f"mean F1 {change.value:+.3f} ({change.low:+.3f} … {change.high:+.3f}), {chance}"
    if test.blocks < FEWEST_BLOCKS:
        return PromotionDecision(
            False, f"{test.blocks} blocks are too few to compare versions (at least {FEWEST_BLOCKS})"
        )
    if change.high < 0:
        return PromotionDecision(False, f"worse than the current version: {figures}")
    if change.low <= 0 or test.p_value >= SIGNIFICANT:
        return PromotionDecision(
            False, f"not distinguishable from the current version on {test.blocks} blocks: {figures}"
        )
    if test.overall_accuracy.high < 0:
        return PromotionDecision(
            False, f"{figures}, but the overall accuracy falls by {-test.overall_accuracy.value:.1%}"
        )
    lost = {name: loss for name, loss in test.per_class_f1.items() if loss.high < -WORST_LOSS}
    if lost:
        named = ", ".join(f"{name} ({loss.value:+.2f})" for name, loss in lost.items())
        return PromotionDecision(False, f"{figures}, but these classes lose F1: {named}")
    return PromotionDecision(True, f"better than the current version on {test.blocks} blocks: {figures}")


def decide_first_promotion(counts: BlockCounts) -> PromotionDecision:
    """Decide on the first version: it must beat a constant prediction of the commonest class."""
    blocks = len(counts.blocks)
    if blocks < FEWEST_BLOCKS:
        return PromotionDecision(False, f"{blocks} blocks are too few to evaluate a version (at least {FEWEST_BLOCKS})")
    accuracy = scores(counts).overall_accuracy
    total = counts.total.counts
    commonest = float(total.sum(axis=1).max() / total.sum())
    figures = (
        f"accuracy {accuracy.value:.2f} ({accuracy.low:.2f} … {accuracy.high:.2f}), commonest class {commonest:.2f}"
    )
    if accuracy.low <= commonest:
        return PromotionDecision(False, f"not better than a constant prediction of the commonest class: {figures}")
    return PromotionDecision(True, f"there is no current version to compare with; {figures}")
