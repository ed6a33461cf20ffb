"""Held-out parts of the shipped model's data: polygons by label, patches by place."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from earthsignature_assets.ground_truth.samples import Sample


def split_polygons(labels: Sequence[str], seed: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split polygons into two thirds for training and one third held out, class by class.

    Returns:
        The numbers (1…N) of the training polygons and of the held-out ones; every class with at least two polygons is
        in both. The result depends on labels and seed only.
    """
    generator = np.random.default_rng(seed)
    held_out: list[int] = []
    for label in sorted(set(labels)):
        members = [number for number, other in enumerate(labels, 1) if other == label]
        shuffled = generator.permutation(members)
        held_out.extend(int(number) for number in shuffled[: round(len(members) / 3)])
    training = tuple(number for number in range(1, len(labels) + 1) if number not in set(held_out))
    return training, tuple(sorted(held_out))


def polygon_folds(labels: Sequence[str], folds: int, seed: int = 0) -> tuple[int, ...]:
    """Deal the polygons out to folds, label by label: the fold, 0…folds-1, of polygon 1…N at position 0…N-1.

    The result depends on labels and seed only.
    """
    generator = np.random.default_rng(seed)
    order: list[int] = []
    for label in sorted(set(labels)):
        members = [position for position, other in enumerate(labels) if other == label]
        order.extend(int(position) for position in generator.permutation(members))
    # Dealing continues across labels, so that folds are even in total and in each label.
    fold_of = {position: dealt % folds for dealt, position in enumerate(order)}
    return tuple(fold_of[position] for position in range(len(labels)))


def spatial_folds(samples: Sequence[Sample], folds: int, apart_km: float = 50.0) -> list[int]:
    """Assign samples to folds, 0…folds-1, so that near samples share a fold.

    Samples closer than `apart_km` are chained into one group; groups go, the largest first, to the fold whose balance
    of labels suffers least.
    """
    groups = _groups(samples, apart_km)
    chosen: dict[int, int] = {}
    loads: list[Counter[str]] = [Counter() for _ in range(folds)]
    for group in sorted(set(groups), key=lambda group: (-groups.count(group), group)):
        content = Counter(sample.label for sample, other in zip(samples, groups, strict=True) if other == group)
        costs = [
            sum((load[label] + count) ** 2 - load[label] ** 2 for label, count in content.items()) for load in loads
        ]
        best = min(range(folds), key=lambda fold: (costs[fold], loads[fold].total(), fold))
        chosen[group] = best
        loads[best].update(content)
    return [chosen[group] for group in groups]


def _groups(samples: Sequence[Sample], apart_km: float) -> list[int]:
    """Chain near samples, and return the group number of every sample (single linkage on the sphere)."""
    longitudes = np.radians([sample.longitude for sample in samples])
    latitudes = np.radians([sample.latitude for sample in samples])
    towards = np.stack(
        [np.cos(latitudes) * np.cos(longitudes), np.cos(latitudes) * np.sin(longitudes), np.sin(latitudes)], axis=1
    )
    near = 6371.0 * np.linalg.norm(towards[:, None] - towards[None], axis=-1) < apart_km
    group = np.arange(len(samples))
    while True:
        joined = np.where(near, group[None], len(samples)).min(axis=1)
        if (joined == group).all():
            return [int(number) for number in group]
        group = joined
