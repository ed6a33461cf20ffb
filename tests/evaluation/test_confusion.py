import numpy as np
import pytest

from earthsignature_assets.evaluation.confusion import Confusion, confusion, majority

TRUTH = np.array([[313, 313, 313, 512], [512, 211, 0, 0]], np.uint16)
PREDICTED = np.array([[313, 313, 211, 512], [313, 211, 512, 211]], np.uint16)


def test_counts_and_figures_by_hand() -> None:
    matrix = confusion(TRUTH, PREDICTED, (211, 313, 512))
    assert matrix.counts.tolist() == [[1, 0, 0], [1, 2, 0], [0, 1, 1]]
    assert matrix.total == 6
    assert matrix.overall_accuracy == pytest.approx(4 / 6)
    forest = matrix.per_class()["313"]
    assert forest["precision"] == pytest.approx(2 / 3)
    assert forest["recall"] == pytest.approx(2 / 3)
    assert forest["f1"] == pytest.approx(2 / 3)
    assert forest["iou"] == pytest.approx(2 / 4)
    assert forest["support"] == 3
    arable = matrix.per_class()["211"]
    assert (arable["precision"], arable["recall"]) == (pytest.approx(1 / 2), 1.0)
    assert matrix.mean_f1 == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)


def test_the_order_of_the_codes_is_the_order_of_the_matrix() -> None:
    matrix = confusion(TRUTH, PREDICTED, (512, 211, 313))
    assert matrix.counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 2]]


def test_grouping_merges_rows_and_columns() -> None:
    grouped = confusion(TRUTH, PREDICTED, (211, 313, 512)).grouped({"211": "land", "313": "land", "512": "water"})
    assert grouped.names == ("land", "water")
    assert grouped.counts.tolist() == [[4, 0], [1, 1]]


def test_a_class_that_never_occurs_has_no_figures() -> None:
    figures = confusion(TRUTH, PREDICTED, (211, 222, 313, 512)).to_dict()
    assert figures["per_class"]["222"]["recall"] is None
    assert figures["per_class"]["222"]["support"] == 0
    assert figures["mean_f1"] == pytest.approx(2 / 3, abs=1e-4)


def test_an_empty_matrix_has_no_accuracy() -> None:
    empty = confusion(np.zeros(3, np.uint16), np.full(3, 211, np.uint16), (211, 313))
    assert empty.to_dict()["overall_accuracy"] is None


def test_a_code_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of"):
        confusion(TRUTH, np.full_like(TRUTH, 999), (211, 313, 512))
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(TRUTH, PREDICTED[:1], (211, 313, 512))


def test_matrices_of_different_classes_do_not_add_up() -> None:
    one, other = (Confusion(names, np.zeros((1, 1), np.int64)) for names in (("211",), ("313",)))
    with pytest.raises(ValueError, match="do not add up"):
        one + other


def test_majority_takes_the_smaller_code_of_equals() -> None:
    assert majority(np.array([512, 211, 512, 211, 313])) == 211
    with pytest.raises(ValueError, match="no pixel"):
        majority(np.array([], np.uint16))
