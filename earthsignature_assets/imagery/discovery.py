"""Which Sentinel-2 items a STAC API publishes for a day over an area of interest.

The remote's policy is stated here once: 10 s to connect, 60 s to answer; five tries with growing pauses on 429,
500, 502, 503 and 504 and on broken connections, POST searches included, `Retry-After` respected.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from pystac import Link
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely import from_wkt, prepare, union_all
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from urllib3.util import Retry

from earthsignature_assets.errors import (
    InvalidKeyError,
    NoSuchSceneError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.imagery.provider import Provider
from earthsignature_assets.keys import parse_tile

_TIMEOUT_S = (10.0, 60.0)
_RETRY = Retry(
    total=5,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    respect_retry_after_header=True,
)
_PAGE_ITEMS = 100
_MAX_ITEMS = 50_000
"""Europe has 3,263 tiles: a day with more items than this is a paging loop."""


@dataclass(frozen=True)
class AreaOfInterest:
    """What discovery looks at: named tiles, or every tile of a polygon in EPSG:4326.

    With tiles, only items of exactly these tiles count; neighbours overlap them by 10 km.
    """

    geometry: BaseGeometry
    tiles: frozenset[str] = frozenset()

    @classmethod
    def of_tiles(cls, *tiles: str) -> "AreaOfInterest":
        """The area of named MGRS tiles.

        Raises:
            InvalidKeyError: a name is no tile.
        """
        if not tiles:
            raise InvalidKeyError("an area of interest needs at least one tile, such as 32TQM")
        names = [parse_tile(tile) for tile in tiles]
        return cls(union_all([tile_grid(name).footprint() for name in names]), frozenset(names))

    @classmethod
    def of_wkt(cls, wkt: str) -> "AreaOfInterest":
        """The area of a WKT polygon, EPSG:4326.

        Raises:
            InvalidKeyError: the text is no WKT area.
        """
        try:
            geometry = from_wkt(wkt)
        except ShapelyError as error:
            raise InvalidKeyError(f"the area of interest is no WKT: {error}") from error
        if geometry is None or geometry.is_empty or geometry.area == 0 or not geometry.is_valid:
            raise InvalidKeyError("the area of interest must be a valid, non-empty polygon in EPSG:4326")
        return cls(geometry)


class _SearchIO(StacApiIO):
    """Refuses a search answer that is no feature collection; the library takes it for an empty one."""

    def read_json(self, source: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        page = super().read_json(source, *arguments, **options)
        method = options.get("method") or (source.to_dict().get("method") if isinstance(source, Link) else None)
        if method == "POST" and not isinstance(page.get("features"), list):
            raise ProviderAnswerError(f"{source} answered a search without features: {str(page)[:200]}")
        return page


def discover_day(provider: Provider, day: dt.date, area: AreaOfInterest) -> list[dict[str, Any]]:
    """Return every item of a UTC day over the area, each id once, in the order of their ids.

    Raises:
        ProviderUnavailableError: the API does not answer, or not in time.
        ProviderAnswerError: the API refuses the search, or answers with what is no STAC.
    """
    found: dict[str, dict[str, Any]] = {}
    prepare(area.geometry)
    for item in _search(provider, day, area):
        tile = str((item.get("properties") or {}).get("grid:code", "")).removeprefix("MGRS-")
        if area.tiles and tile not in area.tiles:
            continue
        if not area.tiles and item.get("geometry") and not area.geometry.intersects(shape(item["geometry"])):
            continue
        found[str(item["id"])] = item
    return [found[item_id] for item_id in sorted(found)]


def discover_tile(provider: Provider, day: dt.date, tile: str) -> list[dict[str, Any]]:
    """Return the items of one tile on one UTC day.

    Raises:
        InvalidKeyError: the text names no tile.
        NoSuchSceneError: the provider has no item of that tile on that day.
        ProviderUnavailableError: the API does not answer, or not in time.
        ProviderAnswerError: the API refuses the search, or answers with what is no STAC.
    """
    items = discover_day(provider, day, AreaOfInterest.of_tiles(tile))
    if not items:
        raise NoSuchSceneError(
            f"{provider.name} ({provider.collection}) has no item of tile {parse_tile(tile)} on {day}: Sentinel-2 "
            "passes every two to five days, try a neighbouring date"
        )
    return items


def _search(provider: Provider, day: dt.date, area: AreaOfInterest) -> Iterator[dict[str, Any]]:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1) - dt.timedelta(milliseconds=1)
    try:
        client = Client.open(provider.api_url, stac_io=_SearchIO(timeout=_TIMEOUT_S, max_retries=_RETRY))
        search = client.search(
            collections=[provider.collection],
            datetime=(start, end),
            bbox=area.geometry.bounds,
            limit=_PAGE_ITEMS,
            method="POST",
        )
        seen = 0
        for page in search.pages_as_dicts():
            features = page["features"]
            seen += len(features)
            if seen > _MAX_ITEMS:
                raise ProviderAnswerError(f"{provider.api_url} does not stop paging ({seen} items for {day})")
            yield from features
    except (requests.Timeout, requests.ConnectionError, requests.exceptions.RetryError) as error:
        raise ProviderUnavailableError(f"{provider.api_url} does not answer: {error}") from error
    except APIError as error:
        status = getattr(error, "status_code", None)
        if status is None or status >= 500 or status == 429:
            raise ProviderUnavailableError(f"{provider.api_url} does not answer: {error}") from error
        raise ProviderAnswerError(f"{provider.api_url} refuses the search ({status}): {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProviderAnswerError(f"{provider.api_url} answered what is no STAC: {error}") from error
