from collections import Counter

import pytest

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.spatial_split import SHARES, Split, cell_of, guarded, split_cells


def test_cells_have_the_names_of_the_european_reference_grid() -> None:
    # The corner of the grid's projection centre, 52° N 10° E, is E 4321000 N 3210000.
    assert cell_of(10.0, 52.0, 10) == "10kmE432N321"
    assert cell_of(10.0, 52.0, 100) == "100kmE43N32"
    assert cell_of(10.0, 52.0, 0.5) == "0.5kmE8642N6420"


def content(cells: int, classes: tuple[str, ...] = ("211", "313", "512")) -> dict[str, Counter[str]]:
    """Create cells that mostly hold one class each; only every seventh holds the last class."""
    found = {}
    for cell in range(cells):
        found[f"c{cell}"] = Counter({classes[cell % 2]: 900 + cell, classes[(cell + 1) % 2]: 100})
        if cell % 7 == 0:
            found[f"c{cell}"][classes[2]] = 300
    return found


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_divided_as_asked(seed: int) -> None:
    cells = content(70)
    chosen = split_cells(cells, seed=seed)
    total = sum(cells.values(), Counter())
    for split, share in SHARES.items():
        own = sum((cells[cell] for cell, other in chosen.items() if other == split), Counter())
        for name in total:
            assert own[name] / total[name] == pytest.approx(share, abs=0.11), (split, name)


def test_the_same_seed_gives_the_same_split_and_order_does_not_matter() -> None:
    cells = content(30)
    turned = dict(reversed(list(cells.items())))
    assert split_cells(cells, seed=4) == split_cells(turned, seed=4)


def test_every_split_has_a_cell_even_if_there_are_few() -> None:
    assert set(split_cells(content(3)).values()) == {Split.TRAIN, Split.VALIDATION, Split.TEST}


def test_fewer_cells_than_splits_are_refused_with_the_remedy() -> None:
    with pytest.raises(GroundTruthError, match="smaller cell_km"):
        split_cells(content(2))
    assert set(split_cells(content(2), {Split.TRAIN: 0.5, Split.TEST: 0.5, Split.VALIDATION: 0.0}).values()) == {
        Split.TRAIN,
        Split.TEST,
    }


def test_training_samples_near_held_out_ones_are_not_used() -> None:
    places = [(10.0, 52.0), (10.001, 52.0), (10.2, 52.0), (10.0005, 52.0)]
    splits = [Split.TEST, Split.TRAIN, Split.TRAIN, Split.VALIDATION]
    assert guarded(places, splits, 1.0) == [Split.TEST, Split.GUARD, Split.TRAIN, Split.VALIDATION]
    assert guarded(places, splits, 0.0) == splits
