"""STAC APIs that answer something other than the question, each as a public bug report describes it."""

import datetime as dt
import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import (
    ConfigurationError,
    CredentialError,
    NoSuchSceneError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.imagery.days.discovery import discover_day, discover_tile
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.provider import PROVIDERS, SearchHeader
from earthsignature_assets.imagery.scenes.area import AreaOfInterest

DAY = dt.date(2026, 5, 1)
PROVIDER = PROVIDERS["earth-search"]
AREA = AreaOfInterest.of_tiles("32TQM")
ITEM_SEARCH = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]

Answer = tuple[int, dict[str, str], Any]


def item(name: str, time: str = "2026-05-01T10:11:26Z", tile: str = "32TQM", **more: Any) -> dict[str, Any]:
    properties = {"datetime": time, "grid:code": f"MGRS-{tile}"}
    return {"type": "Feature", "id": name, "collection": PROVIDER.collection, "properties": properties, **more}


def features(items: list[dict[str, Any]], *links: dict[str, Any], **more: Any) -> Answer:
    return 200, {}, {"type": "FeatureCollection", "features": items, "links": list(links), **more}


@dataclass
class Asked:
    """A request as the server saw it: of a GET the query is the question."""

    method: str
    path: str
    question: dict[str, Any]
    headers: dict[str, str]
    number: int


@dataclass
class Api:
    root: str = ""
    asked: list[Asked] = field(default_factory=list)

    @property
    def searches(self) -> list[str]:
        return [request.method for request in self.asked if request.path != "/"]


@contextmanager
def api(answer: Callable[[Api, Asked], Answer], landing: dict[str, Any] | None = None) -> Iterator[Api]:
    """A server whose landing page is sound unless given, and whose searches are answered by a function."""
    served = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            self.reply("GET", url.path or "/", dict(urllib.parse.parse_qsl(url.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.reply("POST", self.path, json.loads(body))

        def reply(self, method: str, path: str, question: dict[str, Any]) -> None:
            headers: dict[str, str] = {}
            served.asked.append(Asked(method, path, question, dict(self.headers), len(served.searches)))
            if path == "/":
                links = [{"rel": "search", "href": f"{served.root}/search", "method": "POST"}]
                sound = {"type": "Catalog", "id": "a", "conformsTo": ITEM_SEARCH, "links": links}
                status, content = 200, landing or sound
            else:
                status, headers, content = answer(served, served.asked[-1])
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.root = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


def found(served: Api) -> list[str]:
    return [item["id"] for item in discover_day(PROVIDER.at(served.root), DAY, AREA).items]


def test_items_of_another_day_collection_or_tile_are_dropped_and_counted() -> None:
    listed = [
        item("of-the-day"),
        item("late", "2026-05-02T00:00:00Z"),
        item("early", "2026-04-21T10:11:26Z"),
        item("l1c") | {"collection": "sentinel-2-l1c"},
        item("neighbour", tile="32TQN"),
    ]
    with api(lambda *_: features(listed)) as served:
        discovered = discover_day(PROVIDER.at(served.root), DAY, AREA)
    assert [item["id"] for item in discovered.items] == ["of-the-day"]
    assert discovered.dropped_text == "1 of another collection, 2 of another day, 1 outside the area"
    assert discovered.disobeys
    with api(lambda *_: features(listed[1:])) as served, pytest.raises(NoSuchSceneError, match="2 of another day"):
        discover_tile(PROVIDER.at(served.root), DAY, "32TQM")


def test_a_day_includes_its_first_and_last_moment() -> None:
    times = ["2026-05-01T00:00:00Z", "2026-05-01T23:59:59.999Z", "2026-05-02T01:30:00+02:00"]
    listed = [item(str(number), time) for number, time in enumerate(times)]
    with api(lambda *_: features(listed)) as served:
        assert found(served) == ["0", "1", "2"]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_that_is_redirected_as_a_get_is_noticed(status: int) -> None:
    everything = [item("old", "2026-04-21T10:11:26Z")]

    def redirect(served: Api, asked: Asked) -> Answer:
        return (status, {"Location": f"{served.root}/moved"}, {}) if asked.path == "/search" else features(everything)

    with api(redirect) as served, pytest.raises(ProviderAnswerError, match="give the provider its new address"):
        found(served)
    assert served.searches == ["POST"]


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_question_is_followed(status: int) -> None:
    def redirect(served: Api, asked: Asked) -> Answer:
        moved = asked.path == "/moved" and asked.question["collections"] == [PROVIDER.collection]
        return features([item("a")]) if moved else (status, {"Location": "/moved"}, {})

    with api(redirect) as served:
        assert found(served) == ["a"]


def test_a_search_credential_stays_with_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_TOKEN", "secret")
    provider = replace(PROVIDER, search_header=SearchHeader("X-Key", "MIRROR_TOKEN"))
    with api(lambda *_: features([item("b")])) as other:
        link = {"rel": "next", "href": f"{other.root}/search", "method": "POST", "body": {"page": 2}}
        with api(lambda *_: features([item("a")], link)) as served:
            items = discover_day(provider.at(served.root), DAY, AREA).items
        assert [item["id"] for item in items] == ["a", "b"]
        assert {request.headers.get("X-Key") for request in served.asked} == {"secret"}
        assert {request.headers.get("X-Key") for request in other.asked} == {None}
        with (
            api(lambda *_: (307, {"Location": f"{other.root}/search"}, {})) as served,
            pytest.raises(ProviderAnswerError, match="must not receive MIRROR_TOKEN"),
        ):
            discover_day(provider.at(served.root), DAY, AREA)
        assert {request.headers.get("X-Key") for request in other.asked} == {None}


def test_a_next_link_may_be_relative_carry_headers_and_a_body_to_merge() -> None:
    relative = {"rel": "next", "href": "/search?page=2"}
    merging = {"rel": "next", "href": "search", "method": "POST", "merge": True, "body": {"page": 3}}
    with_headers = {"rel": "next", "href": "/search", "method": "post", "body": {}, "headers": {"X-Page": "4"}}

    def pages(_: Api, asked: Asked) -> Answer:
        if asked.headers.get("X-Page") == "4":
            return features([item("d")])
        page = str(asked.question.get("page", 1))
        return {
            "1": features([item("a")], relative),
            "2": features([item("b")], merging),
            "3": features([item("c")], with_headers),
        }[page]

    with api(pages) as served:
        assert found(served) == ["a", "b", "c", "d"]


def test_a_body_is_merged_into_the_question() -> None:
    link = {"rel": "next", "href": "/search", "method": "POST", "merge": True, "body": {"token": "2"}}
    with api(lambda _, asked: features([item(f"{asked.number}")], *([link] if asked.number == 0 else []))) as served:
        assert found(served) == ["0", "1"]
    first, second = (request.question for request in served.asked if request.path == "/search")
    assert second == first | {"token": "2"}


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_an_api_without_post_is_asked_by_get(status: int) -> None:
    def get_only(_: Api, asked: Asked) -> Answer:
        if asked.method == "POST":
            return status, {}, {}
        if asked.question.get("page") == "2":
            return features([item("b")])
        again = urllib.parse.urlencode(asked.question | {"page": "2"})
        return features([item("a")], {"rel": "next", "href": f"/search?{again}"})

    with api(get_only) as served:
        assert found(served) == ["a", "b"]
    assert served.searches == ["POST", "GET", "GET"]
    assert served.asked[-1].question["collections"] == PROVIDER.collection
    assert served.asked[-1].question["datetime"] == "2026-05-01T00:00:00.000Z/2026-05-01T23:59:59.999Z"


def test_the_landing_page_decides_on_the_method() -> None:
    landing = {"links": [{"rel": "search", "href": "find", "method": "GET"}]}
    with api(lambda *_: features([item("a")]), landing) as served:
        assert found(served) == ["a"]
    assert [(request.method, request.path) for request in served.asked] == [("GET", "/"), ("GET", "/find")]


def test_a_search_that_is_refused_by_get_too_is_a_matter_of_credentials() -> None:
    with api(lambda *_: (403, {}, {})) as served, pytest.raises(CredentialError, match="search_header"):
        found(served)
    assert served.searches == ["POST", "GET"]


@pytest.mark.parametrize(
    "landing",
    [
        {"type": "Catalog", "id": "static", "links": [{"rel": "child", "href": "./collection.json"}]},
        {"type": "Catalog", "id": "core", "conformsTo": ITEM_SEARCH[:1], "links": []},
        {"hello": "world"},
    ],
    ids=["static catalogue", "no item search", "another service"],
)
def test_an_address_without_item_search_is_refused_by_name(landing: dict[str, Any]) -> None:
    with api(lambda *_: features([]), landing) as served, pytest.raises(ProviderAnswerError, match="no item search"):
        found(served)


def test_a_landing_page_that_states_no_conformance_is_no_hindrance() -> None:
    with api(lambda *_: features([item("a")]), {"links": [{"rel": "search", "href": "/search"}]}) as served:
        assert found(served) == ["a"]
    with api(lambda *_: features([item("a")]), {"conformsTo": ITEM_SEARCH, "links": []}) as served:
        assert found(served) == ["a"]


@pytest.mark.parametrize("listed", [[], [item("same")]], ids=["empty for ever", "the same for ever"])
def test_pages_without_news_end_the_search_however_new_their_addresses(listed: list[dict[str, Any]]) -> None:
    def onward(_: Api, asked: Asked) -> Answer:
        return features(listed, {"rel": "next", "href": f"/search?page={asked.number}"})

    with api(onward) as served, pytest.raises(ProviderAnswerError, match="in a row hold nothing new"):
        found(served)
    assert len(served.searches) <= 6


@pytest.mark.parametrize("link", [{"rel": "next"}, {"rel": "next", "href": 5}, {"href": "/search"}, "next"])
def test_a_link_that_cannot_be_read_is_named(link: Any) -> None:
    with api(lambda *_: features([item("a")], link)) as served, pytest.raises(ProviderAnswerError, match="a link"):
        found(served)


def test_an_address_without_a_scheme_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="begins with https"):
        discover_day(PROVIDER.at("localhost:8765"), DAY, AREA)


def most(limit: int, count: int, page_items: int, *, says: bool = True) -> Callable[[Api, Asked], Answer]:
    """An API with `count` items spread over the day, whose paging ends silently after `limit` results."""

    def answer(_: Api, asked: Asked) -> Answer:
        start, end = (dt.datetime.fromisoformat(time) for time in asked.question["datetime"].split("/"))
        midnight = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
        times = [midnight + dt.timedelta(seconds=86400 * number / count) for number in range(count)]
        matching = [item(time.isoformat(), time.isoformat()) for time in times if start <= time <= end]
        begin = int(asked.question.get("token", 0))
        page = matching[begin : begin + page_items]
        following = begin + page_items
        body = {"token": following}
        link = {"rel": "next", "href": "/search", "method": "POST", "merge": True, "body": body}
        links = [link] if following < min(len(matching), limit) else []
        return features(page, *links, **({"numberMatched": len(matching)} if says else {}))

    return answer


def test_a_backlog_beyond_what_an_api_pages_through_arrives_whole() -> None:
    with api(most(limit=10_000, count=12_000, page_items=1000)) as served:
        assert len(found(served)) == 12_000
    assert len(served.searches) == 10 + 6 + 6


def test_items_that_an_api_never_lists_are_missed_by_name() -> None:
    def short(_: Api, asked: Asked) -> Answer:
        return features([item("a")], context={"matched": 2})

    with api(short) as served, pytest.raises(ProviderUnavailableError, match="lists 1 of 2 items"):
        found(served)


def test_proxies_and_passwords_of_other_programs_go_with_no_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    with api(lambda *_: features([item("a")])) as served:
        assert found(served) == ["a"]
    assert {request.headers.get("Authorization") for request in served.asked} == {None}
    proxied = PROVIDER.at(served.root).through("http://127.0.0.1:9", "")
    monkeypatch.setattr(remote_policy, "POLICY", remote_policy.RemotePolicy(tries=1))
    with pytest.raises(ProviderUnavailableError, match="ProxyError"):
        discover_day(proxied, DAY, AREA)
