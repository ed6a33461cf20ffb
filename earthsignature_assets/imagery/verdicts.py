"""Judge the scenes of a day: read each classification, decide, and say why."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import BandError, ItemError
from earthsignature_assets.imagery.cloud_mask import CloudPolicy, Verdict, judge
from earthsignature_assets.imagery.duplicates import group_scenes
from earthsignature_assets.imagery.patches import read_scene_mask
from earthsignature_assets.imagery.provider import Provider
from earthsignature_assets.imagery.scene import Scene, scene_item

_READ_THREADS = 4


@dataclass(frozen=True)
class DayVerdicts:
    """What became of a day's items.

    Attributes:
        scenes: each scene's verdict with its footprint (EPSG:4326), in the order of their keys.
        superseded: ids of items that a newer processing replaces.
        unusable: ids of items that are no scene, with the reason.
    """

    scenes: tuple[tuple[Verdict, BaseGeometry], ...]
    superseded: tuple[str, ...]
    unusable: Mapping[str, str]

    @property
    def accepted(self) -> list[Verdict]:
        """The verdicts that let their scene pass."""
        return [verdict for verdict, _ in self.scenes if verdict.accepted]


def judge_day(
    items: Sequence[Mapping[str, Any]], provider: Provider, bands: Sequence[str], policy: CloudPolicy
) -> DayVerdicts:
    """Group a day's items into scenes and judge each.

    An item that lacks a fact and a scene whose classification is damaged are refused with the reason: one bad
    scene does not cost the day. A server that does not answer does: the day is then tried again.

    Raises:
        ProviderUnavailableError: a classification's server does not answer.
    """
    readable, unusable = [], {}
    for item in items:
        try:
            readable.append(scene_item(item, provider, bands))
        except ItemError as error:
            unusable[str(item.get("id"))] = str(error)
    scenes = group_scenes(readable)
    with ThreadPoolExecutor(_READ_THREADS, "classification") as pool:
        verdicts = list(pool.map(lambda scene: judge_scene(scene, policy), scenes))
    return DayVerdicts(
        scenes=tuple((verdict, scene.footprint) for verdict, scene in zip(verdicts, scenes, strict=True)),
        superseded=tuple(item_id for scene in scenes for item_id in scene.superseded),
        unusable=unusable,
    )


def judge_scene(scene: Scene, policy: CloudPolicy) -> Verdict:
    """Read a scene's classification and judge it; a damaged one refuses the scene with the reason.

    Raises:
        ProviderUnavailableError: its server does not answer.
    """
    provider_percent = scene.parts[0].cloud_cover_percent
    try:
        mask, _ = read_scene_mask(scene)
    except (BandError, ItemError) as error:
        return Verdict(scene.key, scene.product_id, False, str(error), 0.0, 0.0, 0.0, 0.0, 0.0, provider_percent)
    return judge(scene.key, scene.product_id, mask, policy, provider_percent)
