"""Group a day's items into scenes and resolve duplicates.

Reprocessing leaves duplicates: the highest baseline wins, then the latest processing. Two ground stations can
deliver two partial products of one datatake: those form one scene.
"""

from collections import defaultdict
from collections.abc import Iterable

from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem
from earthsignature_assets.keys import SceneKey

_DUPLICATE_OVERLAP = 0.5
"""Two items of one datatake and baseline that share more of the smaller footprint than this are duplicates;
parts of a split product share a few scan lines only."""


def group_scenes(items: Iterable[SceneItem]) -> list[Scene]:
    """Group items into scenes, ordered by key; within each scene the newest processing comes first."""
    by_scene: dict[SceneKey, list[SceneItem]] = defaultdict(list)
    for item in items:
        by_scene[item.key].append(item)
    return [_resolve(by_scene[key]) for key in sorted(by_scene)]


def _resolve(items: list[SceneItem]) -> Scene:
    ranked = sorted(items, key=lambda item: (item.baseline, item.generated_at, item.item_id), reverse=True)
    best = ranked[0]
    parts, superseded = [best], []
    for item in ranked[1:]:
        same_processing = item.baseline == best.baseline and item.datatake == best.datatake
        if same_processing and item.grid == best.grid and not any(_same_ground(item, part) for part in parts):
            parts.append(item)
        else:
            superseded.append(item.item_id)
    parts.sort(key=lambda part: (-part.footprint.area, part.product_id))
    return Scene(tuple(parts), tuple(superseded))


def _same_ground(one: SceneItem, other: SceneItem) -> bool:
    smaller = min(one.footprint.area, other.footprint.area)
    return one.footprint.intersection(other.footprint).area > _DUPLICATE_OVERLAP * smaller
