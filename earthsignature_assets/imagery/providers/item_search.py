"""Search a STAC API for items, and check that it lists as many as it reports.

Timeouts and retries follow `remote_policy`. pystac-client makes the requests, but its own paging is not used: it stops
at an empty page, never ends if the pages form a circle, and supports neither relative links nor headers of a link.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import ChunkedEncodingError

from earthsignature_assets.errors import (
    ConfigurationError,
    CredentialError,
    EarthSignatureError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.provider import Provider, SearchHeader

_PAGE_ITEMS = 100
_MOST_STALE_PAGES = 5
"""Pages in a row without a new item that end a search: sound APIs send an empty page now and then, never this many."""
_SHORTEST_SPAN = dt.timedelta(minutes=30)
_NO_POST = (403, 404, 405, 501)
"""Statuses with which APIs that support only GET refuse a POST."""

Box = tuple[float, float, float, float]
Span = tuple[dt.datetime, dt.datetime]
AnswerT = TypeVar("AnswerT")


def search_items(provider: Provider, day: dt.date, boxes: Sequence[Box]) -> Iterator[dict[str, Any]]:
    """Yield every item that the provider lists for a UTC day in boxes, each id once.

    If an API lists fewer items than it reports as matching, the day is searched again in halves: some services silently
    end their paging after 10,000 results.

    Args:
        provider: the collection to search.
        day: the day of acquisition, UTC.
        boxes: west, south, east and north of each, in degrees.

    Raises:
        ConfigurationError: the provider's URL has no scheme.
        ProviderUnavailableError: the API does not respond, or not in time, or omits items.
        ProviderAnswerError: the API has no item search, refuses the search, pages without end, or does not respond with
            a STAC feature collection.
        CredentialError: the credential for the search is not in the environment, or the API refuses it.
    """
    api = _Api(provider)
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    searches: list[tuple[Box, Span]] = [(box, (start, start + dt.timedelta(days=1))) for box in boxes]
    known: set[str] = set()
    while searches:
        (box, span), listed, matched = searches.pop(), 0, 0
        for page in api.pages(span, box):
            matched = max(matched, _matched(page))
            listed += len(page["features"])
            for item in page["features"]:
                if (item_id := _id(item, provider)) not in known:
                    known.add(item_id)
                    yield item
            if len(known) > remote_policy.POLICY.max_items:
                raise ProviderAnswerError(f"{provider.api_url} does not stop paging ({len(known)} items for {day})")
        if listed < matched:
            halves = _halves(span, f"{provider.api_url} lists {listed} of {matched} items of {day}")
            searches += [(box, half) for half in halves]


def _halves(span: Span, shortfall: str) -> list[Span]:
    start, end = span
    if end - start <= _SHORTEST_SPAN:
        raise ProviderUnavailableError(f"{shortfall}, even when asked for half an hour alone")
    middle = start + (end - start) / 2
    return [(middle, end), (start, middle)]


def _matched(page: dict[str, Any]) -> int:
    """Return the number of matching items that the API reports; 0 if it reports none."""
    context = page.get("context")
    matched = page.get("numberMatched", context.get("matched") if isinstance(context, dict) else None)
    return matched if isinstance(matched, int) else 0


def _id(item: Any, provider: Provider) -> str:
    if not isinstance(item, dict) or not item.get("id"):
        raise ProviderAnswerError(f"{provider.api_url} listed something that is not an item: {str(item)[:200]}")
    return str(item["id"])


@dataclass(frozen=True)
class _Request:
    """One request of a search; `parameters` are the body of a POST or the query of a GET."""

    method: str
    url: str
    parameters: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Text that identifies the request: equal requests have the same."""
        return json.dumps([self.method, self.url, self.parameters, self.headers], sort_keys=True)

    def following(self, link: dict[str, Any]) -> "_Request":
        """Build the request of a `next` link, whose URL may be relative and whose body may extend this one's."""
        body = link.get("body") or {}
        return _Request(
            str(link.get("method", "GET")).upper(),
            urljoin(self.url, link["href"]),
            self.parameters | body if link.get("merge") else body,
            {str(name): str(value) for name, value in (link.get("headers") or {}).items()},
        )


class _Api:
    """The search of one STAC API."""

    def __init__(self, provider: Provider) -> None:
        self._url, header = provider.api_url, provider.search_header
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"STAC API {self._url!r}: an address begins with https:// or http://, such as https://{self._url}"
            )
        self._collection, self._header = provider.collection, header
        self._io = StacApiIO(timeout=remote_policy.POLICY.timeout_s)
        self._io.session = remote_policy.POLICY.session(provider.access)
        if header is not None:
            self._io.session.auth = _SearchAuth(self._url, header.name, _secret(provider.name, header))
        self._io.session.hooks["response"].append(self._check_redirect)
        self._search_url, self._method = self._search_link()

    def pages(self, span: Span, box: Box) -> Iterator[dict[str, Any]]:
        """Yield the pages of a search, empty ones too, until none follows.

        Raises:
            ProviderAnswerError: paging does not come to an end.
        """
        request, page = self._first_page(span, box)
        read, known, stale = {request.identity}, set[str](), 0
        while True:
            if not isinstance(page.get("features"), list):
                raise ProviderAnswerError(f"{self._url} answered a search without features: {str(page)[:200]}")
            yield page
            try:
                links = [link for link in page.get("links") or [] if link["rel"] == "next"]
                request = request.following(links[0]) if links else request
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ProviderAnswerError(f"{self._url} answered with a link that cannot be read: {error!r}") from error
            if not links:
                return
            ids = {str(item["id"]) for item in page["features"]}
            stale = 0 if ids - known else stale + 1
            known |= ids
            if request.identity in read:
                raise ProviderAnswerError(f"{self._url}: paging leads back to a page that was read ({request.url})")
            if stale >= _MOST_STALE_PAGES:
                raise ProviderAnswerError(f"{self._url} does not stop paging: {stale} pages in a row hold nothing new")
            read.add(request.identity)
            page = self._page(request)

    def _search_link(self) -> tuple[str, str]:
        """Read the landing page; return the URL of the search, and the first method to try."""
        landing = self._page(_Request("GET", self._url))
        try:
            links = [link for link in landing.get("links") or [] if link["rel"] == "search"]
            if not links and any("item-search" in name for name in landing.get("conformsTo") or []):
                return f"{self._url.rstrip('/')}/search", "POST"
            methods = {str(link.get("method", "POST")).upper() for link in links}
            if links:
                return urljoin(self._url, links[0]["href"]), "POST" if "POST" in methods else "GET"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProviderAnswerError(f"{self._url} is not the landing page of a STAC API: {error!r}") from error
        raise ProviderAnswerError(
            f"{self._url} has no item search: it is a static catalogue, or not the root of a STAC API; give the "
            "address of an API whose landing page links to its search"
        )

    def _first_page(self, span: Span, box: Box) -> tuple[_Request, dict[str, Any]]:
        """Fetch the first page by POST; if the API refuses that, switch to GET."""
        request = self._question(span, box)
        try:
            return request, self._fetch(request)
        except APIError as error:
            if request.method != "POST" or getattr(error, "status_code", None) not in _NO_POST:
                raise self._fault(error) from error
        self._method = "GET"
        request = self._question(span, box)
        return request, self._page(request)

    def _question(self, span: Span, box: Box) -> _Request:
        times = [moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" for moment in _inclusive(span)]
        if self._method == "POST":
            parameters = {"collections": [self._collection], "bbox": list(box)}
        else:
            parameters = {"collections": self._collection, "bbox": ",".join(map(repr, box))}
        return _Request(
            self._method, self._search_url, parameters | {"datetime": "/".join(times), "limit": _PAGE_ITEMS}
        )

    def _page(self, request: _Request) -> dict[str, Any]:
        try:
            return self._fetch(request)
        except APIError as error:
            raise self._fault(error) from error

    def _fetch(self, request: _Request) -> dict[str, Any]:
        def ask() -> Any:
            text = self._io.request(request.url, request.method, request.headers, request.parameters)
            return json.loads(text)

        try:
            page = _whole(request.url, ask)
        except ValueError as error:
            raise ProviderAnswerError(f"{request.url} did not answer with JSON: {error}") from error
        if not isinstance(page, dict):
            raise ProviderAnswerError(f"{request.url} answered with a {type(page).__name__}, expected a JSON object")
        return page

    def _fault(self, error: APIError) -> EarthSignatureError:
        cause, status = error.__context__, getattr(error, "status_code", None)
        if isinstance(cause, EarthSignatureError):
            return cause
        if isinstance(cause, ValueError):  # requests' errors of addresses are ValueErrors
            return ProviderAnswerError(f"{self._url} names an address that cannot be requested: {error}")
        if status is None or status in remote_policy.BUSY or status >= 500:
            return ProviderUnavailableError(f"{self._url} does not answer: {error}")
        if status in (401, 403):
            remedy = f"check {self._header.variable}" if self._header else "give the provider a search_header"
            return CredentialError(f"{self._url} refuses the search ({status}): {remedy}")
        return ProviderAnswerError(f"{self._url} refuses the search ({status}): {error}")

    def _check_redirect(self, response: Response, *_: Any, **__: Any) -> None:
        """Refuse redirects that lose the search's body or send the credential to another host."""
        if not response.is_redirect:
            return
        target = urljoin(str(response.url), response.headers["location"])
        if response.request.method == "POST" and response.status_code in (301, 302, 303):
            raise ProviderAnswerError(
                f"{response.url} redirects the search to {target} ({response.status_code}), and the question would be "
                "lost on the way: give the provider its new address"
            )
        if self._header is not None and urlsplit(target).netloc != urlsplit(self._url).netloc:
            raise ProviderAnswerError(
                f"{response.url} redirects to another host, {target}, which must not receive {self._header.variable}: "
                "give the provider its new address"
            )


class _SearchAuth(AuthBase):
    """The credential of searches, sent only to the provider's own host."""

    def __init__(self, api_url: str, name: str, value: str) -> None:
        self._netloc, self._name, self._value = urlsplit(api_url).netloc, name, value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if urlsplit(str(request.url)).netloc == self._netloc:
            request.headers[self._name] = self._value
        return request


def _secret(provider_name: str, header: SearchHeader) -> str:
    if not (value := os.environ.get(header.variable, "")):
        raise CredentialError(f"provider {provider_name} needs a credential: set {header.variable} in the environment")
    return value


def _inclusive(span: Span) -> Span:
    """Return both ends of a span as in STAC, where the last moment is included."""
    return span[0], span[1] - dt.timedelta(milliseconds=1)


def _whole(url: str, ask: Callable[[], AnswerT]) -> AnswerT:
    """Call `ask`, and retry if the response is truncated: the session itself retries only until the headers."""
    pauses = remote_policy.POLICY.pauses_s()
    while True:
        try:
            return ask()
        except (APIError, json.JSONDecodeError) as error:
            if not _ends_too_early(error):
                raise
            if (pause_s := next(pauses, None)) is None:
                raise ProviderUnavailableError(f"{url} responds, but its response is truncated: {error}") from error
        time.sleep(pause_s)


def _ends_too_early(error: APIError | json.JSONDecodeError) -> bool:
    if isinstance(error, APIError):
        return isinstance(error.__context__, ChunkedEncodingError)
    return error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
