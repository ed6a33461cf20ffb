"""Find the Sentinel-2 items that a provider publishes for a day over an area of interest, and check each."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.errors import NoSuchSceneError
from earthsignature_assets.imagery.providers.item_search import search_items
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.area import AreaOfInterest
from earthsignature_assets.keys import parse_tile

_OUTSIDE = "outside the area"


@dataclass(frozen=True)
class DiscoveredDay:
    """Items of one day.

    Attributes:
        items: the items as JSON objects, each id once, ordered by id.
        dropped: number of listed items that do not match the search, by reason.
    """

    items: list[dict[str, Any]]
    dropped: Mapping[str, int]

    @property
    def dropped_text(self) -> str:
        """Dropped items in words, such as `3 of another day`; empty if there are none."""
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))

    @property
    def disobeys(self) -> bool:
        """Whether the provider listed items of another day or collection than the search asked for."""
        return bool(set(self.dropped) - {_OUTSIDE})


def discover_day(provider: Provider, day: dt.date, area: AreaOfInterest) -> DiscoveredDay:
    """Find every item of a UTC day over the area; drop other items that the provider lists.

    An item that does not state its day, collection, tile or footprint is kept: reading it reports what it lacks. Some
    items outside the area are expected, because a search uses the area's bounding boxes.

    Raises:
        ConfigurationError: the provider's URL has no scheme.
        ProviderUnavailableError: the API does not respond, or not in time, or omits items.
        ProviderAnswerError: the API refuses the search, does not respond with STAC, or pages without end.
        CredentialError: the credential for the search is not in the environment, or the API refuses it.
    """
    found: dict[str, dict[str, Any]] = {}
    dropped: dict[str, str] = {}
    for item in search_items(provider, day, area.boxes):
        if reason := _deviation(item, provider, day) or ("" if area.holds(item) else _OUTSIDE):
            dropped[str(item["id"])] = reason
        else:
            found[str(item["id"])] = item
    return DiscoveredDay([found[item_id] for item_id in sorted(found)], Counter(dropped.values()))


def discover_tile(provider: Provider, day: dt.date, tile: str) -> list[dict[str, Any]]:
    """Find the items of one tile on one UTC day.

    Raises:
        InvalidKeyError: the text is not a tile.
        NoSuchSceneError: the provider has no item of that tile on that day.
        EarthSignatureError: the search failed; see `discover_day`.
    """
    discovered = discover_day(provider, day, AreaOfInterest.of_tiles(tile))
    if not discovered.items:
        listed = f" (it listed {discovered.dropped_text})" if discovered.dropped else ""
        raise NoSuchSceneError(
            f"{provider.name} ({provider.collection}) has no item of tile {parse_tile(tile)} on {day}{listed}: "
            "Sentinel-2 passes every two to five days, try a neighbouring date"
        )
    return discovered.items


def _deviation(item: Mapping[str, Any], provider: Provider, day: dt.date) -> str:
    """Return how an item deviates from the search; empty if it does not, or if it does not state the property."""
    collection = item.get("collection")
    if collection is not None and collection != provider.collection:
        return "of another collection"
    try:
        sensed_at = dt.datetime.fromisoformat(str((item.get("properties") or {}).get("datetime")))
    except ValueError:
        return ""
    utc = sensed_at.astimezone(dt.UTC) if sensed_at.tzinfo else sensed_at
    return "" if utc.date() == day else "of another day"
