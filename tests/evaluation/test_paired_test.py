from dataclasses import replace

import numpy as np
import pytest

from earthsignature_assets.evaluation.block_counts import BlockCounts, Interval
from earthsignature_assets.evaluation.paired_test import PairedTest, paired_test
from earthsignature_assets.evaluation.promotion_decision import decide_promotion

NAMES = ("211", "313", "512")


def judged(right: np.ndarray, pixels: int = 400) -> BlockCounts:
    """Create blocks of one class each; `right` is each block's correct share, the rest goes to the next class."""
    counts = np.zeros((len(right), 3, 3), np.int64)
    for block, share in enumerate(right):
        true = block % 3
        counts[block, true, true] = round(share * pixels)
        counts[block, true, (true + 1) % 3] = pixels - round(share * pixels)
    return BlockCounts(NAMES, tuple(f"b{block}" for block in range(len(right))), counts)


HARD = np.random.default_rng(3).uniform(0.3, 0.9, 60)


def test_a_version_that_is_better_everywhere_is_promoted() -> None:
    test = paired_test(judged(HARD + 0.1), judged(HARD))
    assert test.overall_accuracy.value == pytest.approx(0.1, abs=0.01)
    assert test.mean_f1.low > 0
    assert test.p_value < 0.01
    decision = decide_promotion(test)
    assert decision.promote
    assert "better than the current version on 60 blocks" in str(decision)


def test_pairing_finds_a_difference_within_separate_intervals() -> None:
    test = paired_test(judged(HARD + 0.02), judged(HARD))
    assert decide_promotion(test).promote, "two points everywhere are certain, though places differ by sixty"


def test_a_worse_version_is_held() -> None:
    decision = decide_promotion(paired_test(judged(HARD - 0.1), judged(HARD)))
    assert not decision.promote
    assert "worse than the current version" in decision.reason


def test_equal_answers_are_not_distinguishable() -> None:
    test = paired_test(judged(HARD), judged(HARD))
    assert (test.mean_f1.value, test.p_value) == (0.0, 1.0)
    assert "not distinguishable" in decide_promotion(test).reason


def test_a_few_blocks_decide_nothing() -> None:
    decision = decide_promotion(paired_test(judged(HARD[:9] + 0.1), judged(HARD[:9])))
    assert not decision.promote
    assert "9 blocks are too few" in decision.reason


def test_a_version_that_gives_up_a_class_is_held() -> None:
    better = Interval(0.1, 0.05, 0.15)
    test = PairedTest(60, better, better, {"211": better, "512": Interval(-0.2, -0.3, -0.1)}, 0.001)
    decision = decide_promotion(test)
    assert not decision.promote
    assert "lose F1: 512 (-0.20)" in decision.reason
    assert decide_promotion(replace(test, per_class_f1={"211": better})).promote


def test_a_version_whose_accuracy_falls_is_held() -> None:
    better = Interval(0.1, 0.05, 0.15)
    decision = decide_promotion(PairedTest(60, better, Interval(-0.03, -0.05, -0.01), {}, 0.001))
    assert not decision.promote
    assert "overall accuracy falls by 3.0%" in decision.reason


def test_chance_alone_is_seldom_promoted() -> None:
    generator = np.random.default_rng(11)
    promoted = 0
    for seed in range(100):
        noise = generator.normal(0, 0.1, (2, 40))
        one, other = (judged(np.clip(0.6 + part, 0, 1)) for part in noise)
        promoted += decide_promotion(paired_test(one, other, seed=seed, replicates=300)).promote
    assert promoted <= 6


def test_other_blocks_or_other_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="same blocks"):
        paired_test(judged(HARD), judged(HARD[:-1]))
    with pytest.raises(ValueError, match="same labelled pixels"):
        paired_test(judged(HARD), judged(HARD, pixels=401))


def test_versions_may_have_different_classes() -> None:
    other = judged(HARD)
    wider = BlockCounts((*NAMES, "321"), other.blocks, np.pad(other.counts, ((0, 0), (0, 1), (0, 1))))
    test = paired_test(wider, other)
    assert test.mean_f1.value == 0.0
    assert set(test.per_class_f1) == set(NAMES)
