import datetime as dt
import email.utils
import http.server
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3.util.retry
from shapely.geometry import box

from earthsignature_assets.errors import (
    CredentialError,
    InvalidKeyError,
    NoSuchSceneError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.imagery.days.discovery import discover_day, discover_tile
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.provider import PROVIDERS, Provider, SearchHeader
from earthsignature_assets.imagery.scenes.area import AreaOfInterest
from earthsignature_assets.imagery.scenes.duplicates import group_scenes
from earthsignature_assets.imagery.scenes.scene import scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, serve_stac, simulate_scene

DAYS = [dt.date(2026, 5, 1), dt.date(2026, 5, 2)]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("api")
    recipes = [SceneRecipe(SceneKey(day, 22, tile), size=32) for day in DAYS for tile in ("32TQM", "33TUG")]
    items = [simulate_scene(recipe, folder).item_path for recipe in recipes]
    with serve_stac(items) as root:
        yield root


def ids(items: list[dict[str, object]]) -> list[str]:
    return [str(item["id"]).split("_")[1] for item in items]


def test_a_day_over_named_tiles(api: str, c1: Provider) -> None:
    found = discover_day(c1.at(api), DAYS[0], AreaOfInterest.of_tiles("32TQM", "T33TUG")).items
    assert ids(found) == ["T32TQM", "T33TUG"]
    assert {item["properties"]["datetime"][:10] for item in found} == {"2026-05-01"}
    assert ids(discover_tile(c1.at(api), DAYS[1], "33TUG")) == ["T33TUG"]


def test_a_day_over_a_polygon(api: str, c1: Provider) -> None:
    everywhere = AreaOfInterest.of_wkt("POLYGON ((10 40, 14 40, 14 45, 10 45, 10 40))")
    assert ids(discover_day(c1.at(api), DAYS[0], everywhere).items) == ["T32TQM", "T33TUG"]
    # The triangle's box contains both scenes, the triangle itself only the eastern one.
    triangle = AreaOfInterest.of_wkt("POLYGON ((11.3 42.2, 12.9 42.2, 12.9 42.6, 11.3 42.2))")
    assert ids(discover_day(c1.at(api), DAYS[0], triangle).items) == ["T33TUG"]
    ocean = AreaOfInterest.of_wkt("POLYGON ((-30 40, -29 40, -29 41, -30 41, -30 40))")
    assert discover_day(c1.at(api), DAYS[0], ocean).items == []


def test_a_date_without_items_is_reported(api: str, c1: Provider) -> None:
    with pytest.raises(NoSuchSceneError, match="32TQM on 2026-05-03"):
        discover_tile(c1.at(api), dt.date(2026, 5, 3), "32TQM")


def test_an_unknown_tile_is_refused_before_any_request(c1: Provider) -> None:
    with pytest.raises(InvalidKeyError, match="99XYZ"):
        discover_tile(c1.at("http://127.0.0.1:9"), DAYS[0], "99XYZ")


def test_real_items_of_a_day_are_found_and_distinguished(real_data: Path) -> None:
    """Two tiles of one datatake, which overlap by ten kilometres, and other orbits on the days around."""
    paths = sorted((real_data / "stac_e84_33TWL_33TWM_202308").glob("*/S2*/S2*.json"))
    paths += sorted((real_data / "stac_items_e84_v1_europe").glob("*.json"))
    with serve_stac(paths) as root:
        provider, day = PROVIDERS["earth-search-l2a"].at(root), dt.date(2023, 8, 15)
        both = discover_day(provider, day, AreaOfInterest.of_wkt(box(15.7, 45.99, 15.72, 46.02).wkt)).items
        assert [item["id"] for item in both] == ["S2A_33TWL_20230815_0_L2A", "S2A_33TWM_20230815_0_L2A"]
        one = discover_day(provider, day, AreaOfInterest.of_tiles("33TWL")).items
        assert [item["id"] for item in one] == ["S2A_33TWL_20230815_0_L2A"]
        assert discover_day(provider, dt.date(2023, 8, 14), AreaOfInterest.of_tiles("33TWL")).items == []
    scenes = group_scenes(scene_item(item, provider, S2_BANDS) for item in both)
    assert [str(scene.key) for scene in scenes] == ["2023-08-15_R079_T33TWL", "2023-08-15_R079_T33TWM"]
    assert len({scene.parts[0].datatake for scene in scenes}) == 1


RESET, CUT, BUSY = -1, -2, 429


@dataclass(frozen=True)
class Request:
    body: dict[str, Any]
    authorization: str | None


@contextmanager
def server(
    answers: list[tuple[int, object]], landing: Iterable[int] = (), retry_after: Callable[[], str] = lambda: "1"
) -> Iterator[tuple[str, list[Request]]]:
    """Run an HTTP server that serves the landing page, then these responses in turn, and the last one forever.

    The landing page comes after responses with the given statuses. Every 429 has a `Retry-After`.
    """
    requests: list[Request] = []
    statuses = list(landing)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            root = f"http://{self.headers['Host']}"
            self.answer(
                statuses.pop(0) if statuses else 200,
                {
                    "type": "Catalog",
                    "id": "misbehaving",
                    "stac_version": "1.0.0",
                    "description": "A STAC API that misbehaves",
                    "conformsTo": [
                        "https://api.stacspec.org/v1.0.0/core",
                        "https://api.stacspec.org/v1.0.0/item-search",
                    ],
                    "links": [
                        {
                            "rel": "search",
                            "href": f"{root}/search",
                            "method": "POST",
                            "type": "application/geo+json",
                        }
                    ],
                },
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(Request(body, self.headers.get("Authorization")))
            status, content = answers.pop(0) if len(answers) > 1 else answers[0]
            self.answer(status, content)

        def answer(self, status: int, content: object) -> None:
            if status == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            self.reply(status, content)

        def reply(self, status: int, content: object) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(200 if status == CUT else status)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body) + (50 if status == CUT else 0)))
            if status == BUSY:
                self.send_header("Retry-After", retry_after())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}", requests
        finally:
            httpd.shutdown()


AREA = AreaOfInterest.of_tiles("32TQM")
EMPTY = {"type": "FeatureCollection", "features": [], "links": []}


pauseless = pytest.mark.usefixtures("no_pauses")


@pauseless
@pytest.mark.parametrize("status", [500, 502, 503, 504, RESET, CUT])
def test_a_search_with_a_transient_failure_is_retried(c1: Provider, status: int) -> None:
    with server([(status, {}), (status, {}), (200, EMPTY)]) as (root, requests):
        assert discover_day(c1.at(root), DAYS[0], AREA).items == []
    assert len(requests) == 3
    assert requests[0].body == requests[2].body


def in_a_thousand_seconds() -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1000), usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "least_s", "most_s"),
    [(lambda: "7", 7, 7), (in_a_thousand_seconds, 500, 1000), (lambda: "3600", 2000, 2000)],
    ids=["seconds", "date", "more than the policy follows"],
)
def test_retry_after_of_a_busy_api_is_respected(
    c1: Provider, monkeypatch: pytest.MonkeyPatch, retry_after: Callable[[], str], least_s: float, most_s: float
) -> None:
    monkeypatch.setattr(remote_policy, "POLICY", remote_policy.RemotePolicy(first_pause_s=0.0, longest_pause_s=2000))
    pauses: list[float] = []
    monkeypatch.setattr(urllib3.util.retry, "time", SimpleNamespace(time=time.time, sleep=pauses.append))
    with server([(BUSY, {}), (200, EMPTY)], retry_after=retry_after) as (root, requests):
        assert discover_day(c1.at(root), DAYS[0], AREA).items == []
    (pause,) = pauses
    assert least_s <= pause <= most_s
    assert requests[0].body == requests[1].body


@pauseless
@pytest.mark.parametrize("status", [500, 503, RESET, CUT])
def test_a_landing_page_with_a_transient_failure_is_retried(c1: Provider, status: int) -> None:
    with server([(200, EMPTY)], landing=[status, status]) as (root, requests):
        assert discover_day(c1.at(root), DAYS[0], AREA).items == []
    assert len(requests) == 1


@pauseless
@pytest.mark.parametrize("status", [503, RESET, CUT])
def test_a_search_that_keeps_failing_is_retryable(c1: Provider, status: int) -> None:
    with server([(status, {})]) as (root, requests), pytest.raises(ProviderUnavailableError, match=root) as fault:
        discover_day(c1.at(root), DAYS[0], AREA)
    assert fault.value.retryable
    assert len(requests) == 3


@pauseless
def test_an_absent_server_is_retryable(c1: Provider) -> None:
    with pytest.raises(ProviderUnavailableError, match=r"127\.0\.0\.1:9"):
        discover_day(c1.at("http://127.0.0.1:9"), DAYS[0], AREA)


def test_a_silent_server_times_out(c1: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        remote_policy, "POLICY", remote_policy.RemotePolicy(answer_timeout_s=0.2, tries=2, first_pause_s=0.0)
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        root = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ProviderUnavailableError, match="timed out"):
            discover_day(c1.at(root), DAYS[0], AREA)


@pauseless
@pytest.mark.parametrize("cut", [b'{"type": "FeatureColl', b'{"features": [', b'{"features": [{"id": "a"'])
def test_truncated_json_is_retried(c1: Provider, cut: bytes) -> None:
    with server([(200, cut), (200, EMPTY)]) as (root, requests):
        assert discover_day(c1.at(root), DAYS[0], AREA).items == []
    assert len(requests) == 2
    with server([(200, cut)]) as (root, requests), pytest.raises(ProviderUnavailableError, match="truncated"):
        discover_day(c1.at(root), DAYS[0], AREA)
    assert len(requests) == 3


@pauseless
@pytest.mark.parametrize(
    ("status", "content"),
    [(400, {"description": "no"}), (200, {"hello": "world"}), (200, []), (200, b"<html>"), (200, {"features": [1]})],
)
def test_a_response_that_is_not_stac_is_final(c1: Provider, status: int, content: object) -> None:
    with server([(status, content)]) as (root, requests), pytest.raises(ProviderAnswerError) as fault:
        discover_day(c1.at(root), DAYS[0], AREA)
    assert not fault.value.retryable
    assert len(requests) == 1


def page(root: str, names: Iterable[str], following: str | None = None) -> dict[str, Any]:
    features = [
        {"type": "Feature", "id": name, "properties": {"grid:code": "MGRS-32TQM"}, "geometry": None} for name in names
    ]
    body = {"token": following}
    link = {"rel": "next", "href": f"{root}/search", "method": "POST", "merge": True, "body": body}
    return EMPTY | {"features": features, "links": [link] if following else []}


def test_paging_continues_over_repeated_items_and_empty_pages(c1: Provider) -> None:
    answers: list[tuple[int, object]] = []
    with server(answers) as (root, requests):
        answers += [
            (200, page(root, "ab", "2")),
            (200, page(root, "bc", "3")),
            (200, page(root, "", "4")),
            (200, page(root, "d")),
        ]
        assert [item["id"] for item in discover_day(c1.at(root), DAYS[0], AREA).items] == list("abcd")
    assert [request.body.get("token") for request in requests] == [None, "2", "3", "4"]
    assert {request.body["collections"][0] for request in requests} == {c1.collection}


@pytest.mark.parametrize("tokens", [["again", "again"], ["2", "3", "2"]])
def test_paging_in_a_circle_is_ended(c1: Provider, tokens: list[str]) -> None:
    answers: list[tuple[int, object]] = []
    with server(answers) as (root, requests):
        answers += [(200, page(root, "x", token)) for token in tokens]
        with pytest.raises(ProviderAnswerError, match="paging leads back"):
            discover_day(c1.at(root), DAYS[0], AREA)
    assert len(requests) == len(tokens)


def test_paging_that_never_ends_is_ended(c1: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_policy, "POLICY", remote_policy.RemotePolicy(max_items=50))
    answers: list[tuple[int, object]] = []
    with server(answers) as (root, requests):
        names = [[f"{number}-{n}" for n in range(10)] for number in range(100)]
        answers += [(200, page(root, some, str(number))) for number, some in enumerate(names)]
        with pytest.raises(ProviderAnswerError, match="does not stop paging"):
            discover_day(c1.at(root), DAYS[0], AREA)
    assert len(requests) == 6


def test_a_search_that_needs_a_credential_carries_it(c1: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = replace(c1, search_header=SearchHeader("Authorization", "MIRROR_TOKEN"))
    with server([(200, EMPTY)]) as (root, requests):
        with pytest.raises(CredentialError, match="MIRROR_TOKEN"):
            discover_day(provider.at(root), DAYS[0], AREA)
        monkeypatch.setenv("MIRROR_TOKEN", "Bearer abc")
        assert discover_day(provider.at(root), DAYS[0], AREA).items == []
    assert [request.authorization for request in requests] == ["Bearer abc"]
    with server([(401, {})]) as (root, _), pytest.raises(CredentialError, match="MIRROR_TOKEN"):
        discover_day(provider.at(root), DAYS[0], AREA)


def test_an_area_across_the_antimeridian_is_searched_on_both_sides(c1: Provider) -> None:
    area = AreaOfInterest.of_wkt("POLYGON ((178 60, 183 60, 183 62, 178 62, 178 60))")
    with server([(200, EMPTY)]) as (root, requests):
        discover_day(c1.at(root), DAYS[0], area)
    assert sorted(request.body["bbox"] for request in requests) == [[-180, 60, -177, 62], [178, 60, 180, 62]]


def test_a_tile_is_found_in_every_notation_of_its_zone(c1: Provider) -> None:
    short = page("", "a")
    short["features"][0]["properties"]["grid:code"] = "MGRS-7HFE"
    with server([(200, short)]) as (root, _):
        found = discover_day(c1.at(root), DAYS[0], AreaOfInterest.of_tiles("07HFE")).items
    assert [item["id"] for item in found] == ["a"]
