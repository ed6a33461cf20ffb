import math
from pathlib import Path

import pytest
from PIL import Image

from earthsignature_assets.training.learning_curve import LearningCurve, draw_curves


def _curve(*accuracies: float) -> LearningCurve:
    curve = LearningCurve()
    for epoch, accuracy in enumerate(accuracies):
        curve.add(2.0 - epoch / 10, accuracy)
    return curve


def test_an_epoch_is_best_only_if_it_is_better_than_all_before() -> None:
    curve = LearningCurve()
    assert [curve.add(1.0, accuracy) for accuracy in (0.5, 0.4, 0.5, 0.6, math.nan)] == [
        True,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("accuracies", "patience", "exhausted"),
    [((0.5, 0.4, 0.3), 2, True), ((0.5, 0.4, 0.6), 2, False), ((0.5, 0.4, 0.3), 0, False), ((math.nan,) * 9, 2, False)],
)
def test_patience_ends_with_the_epochs_since_the_best(
    accuracies: tuple[float, ...], patience: int, exhausted: bool
) -> None:
    assert _curve(*accuracies).exhausted(patience) is exhausted


def test_curves_are_plotted(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    draw_curves({"fold 1": _curve(0.4, 0.5, 0.6), "all of it": _curve(math.nan, math.nan)}, path, "Training of tiny-v1")
    with Image.open(path) as picture:
        assert picture.size == (720, 540)
        assert len(picture.getcolors(1 << 20) or []) > 10
