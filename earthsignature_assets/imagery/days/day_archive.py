"""The archive of days: their items (stac-geoparquet) and the verdicts on their scenes (GeoParquet).

    <root>/items/<provider>/<day>.parquet        every item that discovery found, superseded ones too
    <root>/verdicts/<provider>/<day>.parquet     one row for each scene: accepted or not, the reason, and the figures

Each provider has its own folders, so that items of two providers never mix. Each file is replaced by a rename: a reader
sees either the old or the new content.
"""

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import rustac

from earthsignature_assets.errors import InvalidKeyError, ItemError, NoSuchSceneError
from earthsignature_assets.imagery.days.scene_verdicts import SceneVerdict
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.duplicates import group_scenes
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item, tile_of
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.system.atomic import whole_file

_PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Added:
    """Counts of one discovery: items new to the day, and known items that it updated."""

    new: int
    updated: int


class DayArchive:
    """The days of one provider under one root."""

    def __init__(self, root: Path, provider_name: str) -> None:
        """Open the archive; the first day creates its folders.

        Raises:
            InvalidKeyError: the provider's name cannot be the name of a folder.
        """
        if not _PROVIDER_NAME.fullmatch(provider_name):
            raise InvalidKeyError(f"provider name {provider_name!r}: use letters, digits, hyphens and underscores")
        self.root, self.provider_name = root, provider_name

    def add_items(self, day: dt.date, items: Sequence[dict[str, Any]]) -> Added:
        """Add items to a day; an item with a known id replaces the known one unless its `updated` is older.

        If nothing changes, the day's file stays untouched.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        known = {item["id"]: item for item in self.items(day)}
        merged = dict(known)
        for item in items:
            if item["id"] not in merged or not _older(item, merged[item["id"]]):
                merged[item["id"]] = item
        updated = sum(_updated(item) != _updated(merged[item_id]) for item_id, item in known.items())
        added = Added(len(merged) - len(known), updated)
        if added.new or added.updated:
            path = self._items_path(day)
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                rustac.write_sync(str(partial), [merged[item_id] for item_id in sorted(merged)], format="parquet")
        return added

    def items(self, day: dt.date) -> list[dict[str, Any]]:
        """Return the known items of a day, ordered by id; an empty list if there are none."""
        path = self._items_path(day)
        if not path.is_file():
            return []
        features: list[dict[str, Any]] = rustac.read_sync(str(path))["features"]
        return features

    def scene(self, key: SceneKey, provider: Provider, bands: Sequence[str]) -> Scene:
        """Return the scene of a key, made from the items of its day.

        Raises:
            NoSuchSceneError: no item of that day shows it.
            ItemError: its item lacks a property or a band.
        """
        readable, faults = [], []
        for item in self.items(key.day):
            if _shows(item, key):
                try:
                    readable.append(scene_item(item, provider, bands))
                except ItemError as fault:
                    faults.append(fault)
        scenes = {scene.key: scene for scene in group_scenes(readable)}
        if key not in scenes:
            if faults:
                raise faults[0]
            raise NoSuchSceneError(
                f"no known item shows scene {key}: materialise `discovered_items` for {key.day}, and check the "
                "area of interest"
            )
        return scenes[key]

    def write_verdicts(self, day: dt.date, verdicts: Iterable[tuple[SceneVerdict, Any]]) -> None:
        """Write the verdicts of a day, each with its scene's footprint (EPSG:4326).

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        rows = [
            dataclasses.asdict(verdict) | {"key": str(verdict.key), "geometry": shape} for verdict, shape in verdicts
        ]
        import geopandas as gpd  # slow to import, and readers do not need it

        path = self._verdicts_path(day)
        if not rows:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            gpd.GeoDataFrame(rows, geometry="geometry", crs=4326).to_parquet(partial)

    def verdicts(self, day: dt.date) -> list[SceneVerdict]:
        """Return the verdicts on a day's scenes, ordered by key; an empty list if there are none."""
        path = self._verdicts_path(day)
        if not path.is_file():
            return []
        rows = pq.read_table(path, columns=[field.name for field in dataclasses.fields(SceneVerdict)]).to_pylist()
        return sorted((_verdict(row) for row in rows), key=lambda verdict: verdict.key)

    def verdict(self, key: SceneKey) -> SceneVerdict:
        """Return the verdict on a scene.

        Raises:
            NoSuchSceneError: the scene has no verdict.
        """
        for verdict in self.verdicts(key.day):
            if verdict.key == key:
                return verdict
        raise NoSuchSceneError(f"scene {key} has no verdict: materialise `clear_scenes` for {key.day}")

    def _items_path(self, day: dt.date) -> Path:
        return self.root / "items" / self.provider_name / f"{day.isoformat()}.parquet"

    def _verdicts_path(self, day: dt.date) -> Path:
        return self.root / "verdicts" / self.provider_name / f"{day.isoformat()}.parquet"


def _older(item: dict[str, Any], known: dict[str, Any]) -> bool:
    """Tell whether an item was updated before the known one; false if either lacks a valid time."""
    one, other = _updated(item), _updated(known)
    return one is not None and other is not None and one < other


def _updated(item: dict[str, Any]) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(str((item.get("properties") or {}).get("updated")))
    except ValueError:
        return None
    # Parquet keeps milliseconds.
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _verdict(row: dict[str, Any]) -> SceneVerdict:
    # Older files may hold NaN instead of null.
    percent = row["provider_cloud_percent"]
    stated = None if percent is None or math.isnan(percent) else float(percent)
    return SceneVerdict(**(row | {"key": SceneKey.parse(row["key"]), "provider_cloud_percent": stated}))


def _shows(item: dict[str, Any], key: SceneKey) -> bool:
    try:
        return tile_of(item) == key.tile
    except (ItemError, InvalidKeyError):
        return False
