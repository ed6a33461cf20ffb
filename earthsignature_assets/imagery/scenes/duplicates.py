"""Group a day's items into scenes: distinguish the parts of a split datatake from duplicates.

Reprocessing leaves duplicates: the highest baseline wins, then the latest processing. Two ground stations can deliver
two partial products of one datatake, which form one scene. Some providers give both parts the footprint of the whole
tile, so footprints alone decide only if an item states neither its datastrip nor another time.
"""

from collections import defaultdict
from collections.abc import Iterable

from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem
from earthsignature_assets.keys import SceneKey

_DUPLICATE_OVERLAP = 0.5
"""Two items that share more of the smaller footprint than this are duplicates; parts share a few scan lines only."""
_MOST_VALID_PERCENT = 110.0
"""Largest sum of the parts' shares of a tile's pixels: all of them, and a few scan lines twice."""


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
    if _are_parts(one, other):
        return False
    smaller = min(one.footprint.area, other.footprint.area)
    return one.footprint.intersection(other.footprint).area > _DUPLICATE_OVERLAP * smaller


def _are_parts(one: SceneItem, other: SceneItem) -> bool:
    """Tell whether two items of one datatake come from different downlinks and have complementary pixels."""
    stated = one.datastrip and other.datastrip
    differ = one.datastrip != other.datastrip if stated else one.sensed_at != other.sensed_at
    if one.no_data_percent is None or other.no_data_percent is None:
        return differ
    return differ and 200.0 - one.no_data_percent - other.no_data_percent <= _MOST_VALID_PERCENT
