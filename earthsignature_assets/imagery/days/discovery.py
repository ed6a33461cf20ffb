"""Which Sentinel-2 items a STAC API publishes for a day over an area of interest.

Timeouts, tries and paging are those of `remote`.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests.exceptions import ChunkedEncodingError

from earthsignature_assets.errors import (
    CredentialError,
    NoSuchSceneError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.area import AreaOfInterest, Box
from earthsignature_assets.keys import parse_tile

_PAGE_ITEMS = 100
AnswerT = TypeVar("AnswerT")


def discover_day(provider: Provider, day: dt.date, area: AreaOfInterest) -> list[dict[str, Any]]:
    """Return every item of a UTC day over the area, each id once, in the order of their ids.

    Raises:
        ProviderUnavailableError: the API does not answer, or not in time.
        ProviderAnswerError: the API refuses the search, answers with what is no STAC, or pages without end.
        CredentialError: the search needs a credential that is not in the environment, or is not accepted.
    """
    found = {str(item["id"]): item for box in area.boxes for item in _search(provider, day, box) if area.holds(item)}
    return [found[item_id] for item_id in sorted(found)]


def discover_tile(provider: Provider, day: dt.date, tile: str) -> list[dict[str, Any]]:
    """Return the items of one tile on one UTC day.

    Raises:
        InvalidKeyError: the text names no tile.
        NoSuchSceneError: the provider has no item of that tile on that day.
        ProviderUnavailableError: the API does not answer, or not in time.
        ProviderAnswerError: the API refuses the search, or answers with what is no STAC.
        CredentialError: the search needs a credential that is not in the environment, or is not accepted.
    """
    items = discover_day(provider, day, AreaOfInterest.of_tiles(tile))
    if not items:
        raise NoSuchSceneError(
            f"{provider.name} ({provider.collection}) has no item of tile {parse_tile(tile)} on {day}: Sentinel-2 "
            "passes every two to five days, try a neighbouring date"
        )
    return items


def _search(provider: Provider, day: dt.date, box: Box) -> Iterator[dict[str, Any]]:
    """Every item of a day in a box, each id once."""
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = start + dt.timedelta(days=1) - dt.timedelta(milliseconds=1)
    try:
        stac_io = StacApiIO(
            headers=_headers(provider), timeout=remote_policy.POLICY.timeout_s, max_retries=remote_policy.POLICY.retry()
        )
        # Without a timeout of its own, opening takes the one of `stac_io` away.
        client = _whole(
            provider.api_url,
            lambda: Client.open(provider.api_url, stac_io=stac_io, timeout=remote_policy.POLICY.timeout_s),
        )
        search = client.search(
            collections=[provider.collection], datetime=(start, end), bbox=box, limit=_PAGE_ITEMS, method="POST"
        )
        known: set[str] = set()
        for page in _pages(stac_io, search.url, search.get_parameters(), f"{provider.api_url}, {day}"):
            new = {str(item["id"]): item for item in page["features"]}
            yield from (item for item_id, item in new.items() if item_id not in known)
            known.update(new)
            if len(known) > remote_policy.POLICY.max_items:
                raise ProviderAnswerError(f"{provider.api_url} does not stop paging ({len(known)} items for {day})")
    except APIError as error:
        status = getattr(error, "status_code", None)
        if status is None or status in remote_policy.BUSY or status >= 500:
            raise ProviderUnavailableError(f"{provider.api_url} does not answer: {error}") from error
        if status in (401, 403):
            header = provider.search_header
            remedy = f"check {header.variable}" if header else "give the provider a search_header"
            raise CredentialError(f"{provider.api_url} refuses the search ({status}): {remedy}") from error
        raise ProviderAnswerError(f"{provider.api_url} refuses the search ({status}): {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderAnswerError(f"{provider.api_url} answered what is no STAC: {error!r}") from error


def _headers(provider: Provider) -> dict[str, str]:
    header = provider.search_header
    if header is None:
        return {}
    if not (value := os.environ.get(header.variable, "")):
        raise CredentialError(f"provider {provider.name} needs a credential: set {header.variable} in the environment")
    return {header.name: value}


def _pages(stac_io: StacApiIO, url: str, parameters: dict[str, Any], what: str) -> Iterator[dict[str, Any]]:
    """Walk through the pages of a search, empty ones too, until none follows.

    pystac-client's own walk takes an empty page for the last one and never ends where pages lead in a circle.
    """
    request: tuple[str, str, dict[str, Any]] = ("POST", url, parameters)
    asked = set()
    while True:
        asked.add(json.dumps(request, sort_keys=True))
        page = _page(stac_io, *request)
        if not isinstance(page.get("features"), list):
            raise ProviderAnswerError(f"{what}: a search was answered without features: {str(page)[:200]}")
        yield page
        link = next((link for link in page.get("links") or [] if link["rel"] == "next"), None)
        if link is None:
            return
        body = link.get("body") or {}
        if link.get("merge"):
            body = parameters | body
        request = (str(link.get("method", "GET")).upper(), link["href"], body)
        if json.dumps(request, sort_keys=True) in asked:
            raise ProviderAnswerError(f"{what}: paging leads back to a page that was read before ({link['href']})")


def _page(stac_io: StacApiIO, method: str, url: str, parameters: dict[str, Any]) -> dict[str, Any]:
    page = _whole(url, lambda: json.loads(stac_io.request(url, method=method, parameters=parameters)))
    if not isinstance(page, dict):
        raise ProviderAnswerError(f"{url} answered with a {type(page).__name__}, expected a feature collection")
    return page


def _whole(url: str, ask: Callable[[], AnswerT]) -> AnswerT:
    """Ask; again where the answer ends too early: the session's own tries end with the headers."""
    pauses = remote_policy.POLICY.pauses_s()
    while True:
        try:
            return ask()
        except (APIError, json.JSONDecodeError) as error:
            if not _ends_too_early(error):
                raise
            if (pause_s := next(pauses, None)) is None:
                raise ProviderUnavailableError(f"{url} answers, but what it says ends too early: {error}") from error
        time.sleep(pause_s)


def _ends_too_early(error: APIError | json.JSONDecodeError) -> bool:
    if isinstance(error, APIError):
        return isinstance(error.__context__, ChunkedEncodingError)
    return error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
