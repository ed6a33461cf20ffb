"""The spatial split of a training set: whole cells of the EEA reference grid go to training, validation or test.

Neighbouring pixels resemble each other: pixels or patches drawn at random would test a model on near-copies of its
training data (Ploton et al. 2020, *Nature Communications* 11:4540). The cells are those of the INSPIRE and EEA
reference grid on EPSG:3035: a cell's name gives its place for any scene and UTM zone, `50kmE46N25`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache

import numpy as np
import shapely
from pyproj import Transformer

from earthsignature_assets.errors import GroundTruthError


class Split(StrEnum):
    """Use of a sample; `GUARD` samples are not used, because they lie too near to another split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    GUARD = "guard"


SHARES: Mapping[Split, float] = {Split.TRAIN: 0.7, Split.VALIDATION: 0.15, Split.TEST: 0.15}
"""Target share of every class in each split."""


def cell_of(longitude: float, latitude: float, cell_km: float) -> str:
    """Return the name of the reference grid's cell at a place (EPSG:4326), for cells of any side.

    Raises:
        GroundTruthError: the place is outside the projection, which covers Europe and its surroundings.
    """
    east, north = _to_laea().transform(longitude, latitude)
    if not (np.isfinite(east) and np.isfinite(north)):
        raise GroundTruthError(f"{longitude:.4f}, {latitude:.4f} is outside the European reference grid (EPSG:3035)")
    return f"{cell_km:g}kmE{int(east // (cell_km * 1000))}N{int(north // (cell_km * 1000))}"


def split_cells(
    content: Mapping[str, Counter[str]], shares: Mapping[Split, float] = SHARES, seed: int = 0
) -> dict[str, Split]:
    """Assign every cell to a split so that each class is divided as `shares` asks, as far as whole cells allow.

    Cells are assigned one by one, the largest first, to the split that they bring nearest to its share.

    Args:
        content: amount of every class in each cell.
        shares: target share of each split; a share of 0 gets no cell.
        seed: decides between equal cells.

    Raises:
        GroundTruthError: there are fewer cells than splits.
    """
    wanted = {split: share for split, share in shares.items() if share > 0}
    if len(content) < len(wanted):
        raise GroundTruthError(
            f"{len(content)} cell(s) cannot be split into {', '.join(wanted)}: choose a smaller cell_km, or add scenes "
            "of other places"
        )
    classes = sorted(set().union(*content.values()))
    amounts = {cell: np.array([counter[name] for name in classes], float) for cell, counter in content.items()}
    total = np.sum(list(amounts.values()), axis=0)
    parts = {cell: amount / total for cell, amount in amounts.items()}
    aims = np.array(list(wanted.values()))[:, None] / sum(wanted.values())
    loads = np.zeros((len(wanted), len(classes)))
    order = np.random.default_rng(seed).permutation(sorted(content))
    chosen: dict[str, Split] = {}
    empty = set(range(len(wanted)))
    for left, cell in zip(
        range(len(order), 0, -1), sorted(order, key=lambda cell: -float(parts[cell].max())), strict=True
    ):
        # The last cells go to the splits that are still empty.
        free = sorted(empty) if left == len(empty) else range(len(wanted))
        costs = {
            split: float((((loads[split] + parts[cell] - aims[split]) ** 2) - (loads[split] - aims[split]) ** 2).sum())
            for split in free
        }
        best = min(costs, key=lambda split: (costs[split], split))
        loads[best] += parts[cell]
        empty.discard(best)
        chosen[str(cell)] = list(wanted)[best]
    return chosen


def guarded(places: Sequence[tuple[float, float]], splits: Sequence[Split], guard_km: float) -> list[Split]:
    """Move training samples nearer than `guard_km` to a validation or test sample to the split `GUARD`.

    Args:
        places: longitude and latitude of each sample's centre, in degrees (EPSG:4326).
        splits: the split of each sample.
        guard_km: the distance in kilometres; 0 keeps all samples.
    """
    if guard_km <= 0:
        return list(splits)
    points = [shapely.Point(*_to_laea().transform(*place)) for place in places]
    held_out = [point for point, split in zip(points, splits, strict=True) if split != Split.TRAIN]
    if not held_out:
        return list(splits)
    near = set(shapely.STRtree(held_out).query(points, predicate="dwithin", distance=guard_km * 1000)[0])
    return [Split.GUARD if split == Split.TRAIN and number in near else split for number, split in enumerate(splits)]


@cache
def _to_laea() -> Transformer:
    """Return the transformer from degrees to metres of the European grid; cached, because creating it takes 60 ms."""
    return Transformer.from_crs(4326, 3035, always_xy=True)
