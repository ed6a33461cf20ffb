import numpy as np
import pytest

from earthsignature_assets.evaluation.block_counts import FEWEST_BLOCKS, BlockCounts, scores
from earthsignature_assets.evaluation.confusion import Confusion


def uniform_blocks(shares: list[float], pixels: int = 1000) -> BlockCounts:
    """Create blocks of one class each, with a share of correct pixels and the rest predicted as the other class."""
    counts = np.zeros((len(shares), 2, 2), np.int64)
    for block, share in enumerate(shares):
        true = block % 2
        counts[block, true, true] = round(share * pixels)
        counts[block, true, 1 - true] = pixels - round(share * pixels)
    return BlockCounts(("211", "313"), tuple(f"b{block}" for block in range(len(shares))), counts)


def test_the_figures_are_those_of_the_sum_of_the_blocks() -> None:
    counts = uniform_blocks([1.0, 0.5, 0.8, 0.9] * 5)
    found = scores(counts)
    matrix = Confusion(counts.names, counts.counts.sum(axis=0))
    assert found.overall_accuracy.value == matrix.overall_accuracy
    assert found.mean_f1.value == pytest.approx(matrix.mean_f1)
    for name, figures in matrix.per_class().items():
        own = found.per_class[name]
        for figure in ("precision", "recall", "f1", "iou"):
            assert getattr(own, figure).value == figures[figure]
            assert getattr(own, figure).low <= figures[figure] <= getattr(own, figure).high
        assert (own.support, own.blocks) == (figures["support"], 10)


def test_the_interval_is_that_of_blocks_and_not_of_pixels() -> None:
    shares = np.random.default_rng(1).uniform(0.4, 1.0, 40)
    few, many = (scores(uniform_blocks(list(shares), pixels)).overall_accuracy for pixels in (100, 100_000))
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.05), (
        "more pixels of a place tell nothing new"
    )
    expected = 2 * 1.96 * shares.std() / np.sqrt(len(shares))
    assert many.high - many.low == pytest.approx(expected, rel=0.1)


def test_the_interval_holds_the_truth_about_as_often_as_it_claims() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = scores(uniform_blocks(list(generator.uniform(0.5, 1.0, 30))), replicates=400).overall_accuracy
        held += found.low <= 0.75 <= found.high
    assert held / 200 > 0.89


def test_a_handful_of_blocks_has_figures_and_no_interval() -> None:
    found = scores(uniform_blocks([1.0] * (FEWEST_BLOCKS - 1)))
    assert found.overall_accuracy.value == 1.0
    assert np.isnan(found.overall_accuracy.low)


def test_a_class_of_a_few_blocks_has_no_interval_while_the_others_do() -> None:
    counts = uniform_blocks([0.9] * 20)
    rare = counts.counts.copy()
    rare[1:19:2] = 0
    found = scores(BlockCounts(counts.names, counts.blocks, rare)).per_class
    assert np.isnan(found["313"].recall.low)
    assert found["211"].recall.low == pytest.approx(0.9)


def test_counts_without_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="no block"):
        scores(BlockCounts(("211",), (), np.zeros((0, 1, 1), np.int64)))
    with pytest.raises(ValueError, match="need"):
        BlockCounts(("211",), ("a",), np.zeros((1, 2, 2), np.int64))


def test_aligning_never_loses_counts() -> None:
    counts = uniform_blocks([1.0, 0.5])
    aligned = counts.aligned(("512", "313", "211"), ("b1", "b0"))
    assert aligned.total.per_class()["211"] == counts.total.per_class()["211"]
    assert aligned.counts[1, 2, 2] == 1000
    with pytest.raises(ValueError, match="313 would be lost"):
        counts.aligned(("211",), counts.blocks)
