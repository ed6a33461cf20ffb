"""Judge the scenes of a day: read each classification, accept or refuse the scene, and give the reason.

A scene that was judged before, from the same products and with the same masks, is judged by its known figures: after
another discovery only new classifications are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import BandError, ItemError
from earthsignature_assets.imagery.masks.scene_classification import DEFAULT_MASKS, MaskSet, SceneMask
from earthsignature_assets.imagery.masks.scene_mask import read_scene_mask
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.duplicates import group_scenes
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.system.settings import Settings


@dataclass(frozen=True)
class CloudPolicy:
    """Conditions under which a scene is clear enough to be segmented.

    Attributes:
        max_cloud_percent: largest cloud cover of the valid area, in percent.
        min_clear_percent: smallest valid and clear part of the tile, in percent.
        masks: the classes that hide the ground.
    """

    max_cloud_percent: float = Settings.max_cloud_percent
    min_clear_percent: float = Settings.min_clear_percent
    masks: MaskSet = DEFAULT_MASKS


@dataclass(frozen=True)
class SceneVerdict:
    """The decision whether to segment a scene, with its reason.

    Attributes:
        key: the scene.
        product_id: the Sentinel-2 product name of its first part.
        source: the products that it was judged by (`Scene.source`).
        masks: name of the mask set behind the clear percentage.
        accepted: whether it is clear enough.
        reason: the reason, for people.
        cloud_percent: cloud cover of the valid area.
        shadow_percent: cloud shadow of the valid area.
        snow_percent: snow of the valid area.
        valid_percent: valid part of the tile; 0 if the classification could not be read.
        clear_percent: clear part of the tile.
        provider_cloud_percent: the provider's own cloud cover; None if it gives none.
    """

    key: SceneKey
    product_id: str
    source: str
    masks: str
    accepted: bool
    reason: str
    cloud_percent: float
    shadow_percent: float
    snow_percent: float
    valid_percent: float
    clear_percent: float
    provider_cloud_percent: float | None


@dataclass(frozen=True)
class DayVerdicts:
    """The result of judging a day.

    Attributes:
        scenes: each scene's verdict with its footprint (EPSG:4326), ordered by key.
        superseded: ids of items that a newer processing replaces.
        unusable: reason for each item that cannot be used, by id.
        read: number of classifications that were read; the others were known.
        renewed: known scenes that now consist of other products.
    """

    scenes: tuple[tuple[SceneVerdict, BaseGeometry], ...]
    superseded: tuple[str, ...]
    unusable: Mapping[str, str]
    read: int = 0
    renewed: tuple[SceneKey, ...] = ()

    @property
    def accepted(self) -> list[SceneVerdict]:
        """Verdicts on the accepted scenes."""
        return [verdict for verdict, _ in self.scenes if verdict.accepted]


def judge_day(
    items: Sequence[Mapping[str, Any]],
    provider: Provider,
    bands: Sequence[str],
    policy: CloudPolicy,
    known: Iterable[SceneVerdict] = (),
) -> DayVerdicts:
    """Group a day's items into scenes and judge each.

    Incomplete items and scenes with a damaged classification are refused with the reason, so one bad scene does not
    fail the day. A server that does not respond does: the day is then retried.

    Raises:
        ProviderUnavailableError: a classification's server does not respond.
    """
    readable, unusable = [], {}
    for item in items:
        try:
            readable.append(scene_item(item, provider, bands))
        except ItemError as error:
            unusable[str(item.get("id"))] = str(error)
    scenes = group_scenes(readable)
    before = {verdict.key: verdict for verdict in known}
    usable = {
        scene.key: verdict
        for scene in scenes
        if (verdict := before.get(scene.key)) is not None
        and (verdict.source, verdict.masks) == (scene.source, policy.masks.name)
        and verdict.valid_percent > 0  # a classification that could not be read is retried
    }

    def verdict_on(scene: Scene) -> SceneVerdict:
        return judge(scene, usable[scene.key], policy) if scene.key in usable else judge_scene(scene, policy)

    with ThreadPoolExecutor(provider.access.connections, "classification") as pool:
        verdicts = list(pool.map(verdict_on, scenes))
    return DayVerdicts(
        scenes=tuple((verdict, scene.footprint) for verdict, scene in zip(verdicts, scenes, strict=True)),
        superseded=tuple(item_id for scene in scenes for item_id in scene.superseded),
        unusable=unusable,
        read=len(scenes) - len(usable),
        renewed=tuple(
            scene.key for scene in scenes if scene.key in before and before[scene.key].source != scene.source
        ),
    )


def judge_scene(scene: Scene, policy: CloudPolicy) -> SceneVerdict:
    """Read a scene's classification and judge the scene; refuse it if the classification is damaged.

    Raises:
        ProviderUnavailableError: its server does not respond.
    """
    try:
        mask, _ = read_scene_mask(scene, policy.masks)
    except (BandError, ItemError) as error:
        return _verdict(scene, policy, False, str(error))
    return judge(scene, mask, policy)


def judge(scene: Scene, figures: SceneMask | SceneVerdict, policy: CloudPolicy) -> SceneVerdict:
    """Accept or refuse a scene by its own figures, not by the provider's."""
    if figures.valid_percent == 0:
        accepted, reason = False, "no valid pixel: the classification is no data everywhere"
    elif figures.cloud_percent > policy.max_cloud_percent:
        accepted = False
        reason = (
            f"cloud covers {figures.cloud_percent:.1f} % of the valid area (at most {policy.max_cloud_percent:g} %)"
        )
    elif figures.clear_percent < policy.min_clear_percent:
        accepted = False
        reason = f"only {figures.clear_percent:.1f} % of the tile is clear (at least {policy.min_clear_percent:g} %)"
    else:
        accepted, reason = True, f"{figures.clear_percent:.1f} % of the tile is clear"
    return _verdict(scene, policy, accepted, reason, figures)


def _verdict(
    scene: Scene, policy: CloudPolicy, accepted: bool, reason: str, figures: SceneMask | SceneVerdict | None = None
) -> SceneVerdict:
    """Make a verdict with its figures; zeros if the classification could not be read."""
    return SceneVerdict(
        key=scene.key,
        product_id=scene.product_id,
        source=scene.source,
        masks=policy.masks.name,
        accepted=accepted,
        reason=reason,
        cloud_percent=figures.cloud_percent if figures else 0.0,
        shadow_percent=figures.shadow_percent if figures else 0.0,
        snow_percent=figures.snow_percent if figures else 0.0,
        valid_percent=figures.valid_percent if figures else 0.0,
        clear_percent=figures.clear_percent if figures else 0.0,
        provider_cloud_percent=scene.parts[0].cloud_cover_percent,
    )
