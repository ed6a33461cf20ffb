import numpy as np
import pandas as pd
import pytest

from earthsignature_assets.evaluation.calibration import calibration
from earthsignature_assets.evaluation.evaluation_table import Scheme, agreeing, block_counts, tally
from earthsignature_assets.ground_truth.label_scheme import Statement
from earthsignature_assets.ground_truth.truth_raster import TruthRaster

STATEMENTS = [Statement(313, 2), Statement(311), Statement(512, 1), Statement(231, 2, 321)]
#                 void  31x  31x  31x  311  311  5xx  5xx  grass grass grass
TRUTH = np.array([[0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4]])
PREDICTED = np.array([[313, 311, 313, 211, 311, 312, 523, 0, 321, 231, 211]], np.uint16)
CONFIDENCE = np.array([[90, 80, 80, 30, 95, 55, 99, 0, 61, 62, 63]], np.uint8)


def table() -> pd.DataFrame:
    counted, unanswered = tally(TruthRaster.of(TRUTH, STATEMENTS), PREDICTED, CONFIDENCE)
    assert unanswered == 1
    return counted.assign(sample="s")


def test_void_pixels_are_not_counted_and_the_others_once() -> None:
    assert table()["pixels"].sum() == 9


def test_every_pixel_is_compared_at_the_level_of_its_label() -> None:
    rows = table()
    right = agreeing(rows)
    assert rows["pixels"][right].sum() == 6
    counts = block_counts(rows, Scheme.AS_LABELLED)
    assert counts.names == ("23x or 32x", "311", "31x", "5xx", "211")
    assert counts.total.counts.tolist() == [
        [2, 0, 0, 0, 1],
        [0, 1, 1, 0, 0],
        [0, 0, 2, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_a_level_counts_only_labels_that_reach_it() -> None:
    first, second, third = (
        block_counts(table(), scheme) for scheme in (Scheme.LEVEL_1, Scheme.LEVEL_2, Scheme.LEVEL_3)
    )
    assert first.names == ("3xx", "5xx", "2xx")
    assert first.total.counts.tolist() == [[4, 0, 1], [0, 1, 0], [0, 0, 0]], "grass is level 2 or level 3 of level 1"
    assert second.names == ("31x", "21x")
    assert second.total.counts.tolist() == [[4, 1], [0, 0]]
    assert third.names == ("311", "312")
    assert third.total.counts.tolist() == [[1, 1], [0, 0]]


def test_blocks_are_those_of_the_column() -> None:
    rows = pd.concat([table().assign(sample="a", cell="x"), table().assign(sample="b", cell="x")])
    assert block_counts(rows, Scheme.AS_LABELLED).blocks == ("a", "b")
    one = block_counts(rows, Scheme.AS_LABELLED, "cell")
    assert (one.blocks, one.total.total) == (("x",), 18)


def test_a_block_without_a_label_of_the_level_is_left_out() -> None:
    water = tally(TruthRaster.of(TRUTH * (TRUTH == 3), STATEMENTS), PREDICTED, CONFIDENCE)[0].assign(sample="w")
    rows = pd.concat([table(), water])
    assert block_counts(rows, Scheme.LEVEL_3).blocks == ("s",)
    assert block_counts(rows, Scheme.LEVEL_1).blocks == ("s", "w")


def confident(share_right: float, confidence: int, blocks: int = 20, pixels: int = 1000) -> pd.DataFrame:
    right = round(share_right * pixels)
    rows = [
        {"code": 313, "level": 2, "also": 0, "predicted": code, "confidence": confidence, "pixels": count}
        for code, count in ((311, right), (211, pixels - right))
        if count
    ]
    return pd.concat([pd.DataFrame(rows).assign(sample=f"s{block:02d}") for block in range(blocks)], ignore_index=True)


def test_a_version_with_honest_confidence_has_no_calibration_error() -> None:
    rows = pd.concat([confident(0.35, 35), confident(0.75, 75), confident(1.0, 100)])
    found = calibration(rows)
    assert found.expected_error.value == pytest.approx(0, abs=1e-9)
    assert [(entry.low, entry.high) for entry in found.bins] == [(30, 40), (70, 80), (90, 100)]
    assert [entry.accuracy for entry in found.bins] == pytest.approx([0.35, 0.75, 1.0])


def test_overconfidence_and_underconfidence_differ_in_sign() -> None:
    sure, modest = calibration(confident(0.6, 90)), calibration(confident(0.9, 60))
    assert sure.expected_error.value == pytest.approx(0.3)
    assert (sure.overconfident, modest.overconfident) == (pytest.approx(0.3), pytest.approx(-0.3))
    assert sure.expected_error.low == pytest.approx(0.3), "all blocks are alike"


def test_the_calibration_of_a_few_blocks_has_no_interval() -> None:
    assert np.isnan(calibration(confident(0.6, 90, blocks=5)).expected_error.low)
