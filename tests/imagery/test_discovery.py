import datetime as dt
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from earthsignature_assets.errors import (
    InvalidKeyError,
    NoSuchSceneError,
    ProviderAnswerError,
    ProviderUnavailableError,
)
from earthsignature_assets.imagery import discovery
from earthsignature_assets.imagery.discovery import AreaOfInterest, discover_day, discover_tile
from earthsignature_assets.imagery.provider import Provider
from earthsignature_assets.keys import SceneKey
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
    found = discover_day(c1.at(api), DAYS[0], AreaOfInterest.of_tiles("32TQM", "T33TUG"))
    assert ids(found) == ["T32TQM", "T33TUG"]
    assert {item["properties"]["datetime"][:10] for item in found} == {"2026-05-01"}
    assert ids(discover_tile(c1.at(api), DAYS[1], "33TUG")) == ["T33TUG"]


def test_a_day_over_a_polygon(api: str, c1: Provider) -> None:
    everywhere = AreaOfInterest.of_wkt("POLYGON ((10 40, 14 40, 14 45, 10 45, 10 40))")
    assert ids(discover_day(c1.at(api), DAYS[0], everywhere)) == ["T32TQM", "T33TUG"]
    # The triangle's box holds both scenes, the triangle itself only the eastern one.
    triangle = AreaOfInterest.of_wkt("POLYGON ((11.3 42.2, 12.9 42.2, 12.9 42.6, 11.3 42.2))")
    assert ids(discover_day(c1.at(api), DAYS[0], triangle)) == ["T33TUG"]
    ocean = AreaOfInterest.of_wkt("POLYGON ((-30 40, -29 40, -29 41, -30 41, -30 40))")
    assert discover_day(c1.at(api), DAYS[0], ocean) == []


def test_a_date_without_items_says_so(api: str, c1: Provider) -> None:
    with pytest.raises(NoSuchSceneError, match="32TQM on 2026-05-03"):
        discover_tile(c1.at(api), dt.date(2026, 5, 3), "32TQM")


def test_an_unknown_tile_is_refused_before_any_request(c1: Provider) -> None:
    with pytest.raises(InvalidKeyError, match="99XYZ"):
        discover_tile(c1.at("http://127.0.0.1:9"), DAYS[0], "99XYZ")


@pytest.mark.parametrize("wkt", ["POLYGON ((", "POINT (1 2)", "POLYGON EMPTY", "POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))"])
def test_an_area_that_is_none_is_refused(wkt: str) -> None:
    with pytest.raises(InvalidKeyError):
        AreaOfInterest.of_wkt(wkt)


@contextmanager
def server(answers: list[tuple[int, object]]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that gives the landing page, then these answers in turn, the last one for ever."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            root = f"http://127.0.0.1:{self.server.server_port}"
            self.reply(
                200,
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
            self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(self.path)
            self.reply(*(answers.pop(0) if len(answers) > 1 else answers[0]))

        def reply(self, status: int, content: object) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_RETRY", discovery._RETRY.new(backoff_factor=0.0, total=2))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_search_that_fails_in_passing_is_sent_again(c1: Provider, status: int) -> None:
    with server([(status, {}), (status, {}), (200, EMPTY)]) as (root, requests):
        assert discover_day(c1.at(root), DAYS[0], AREA) == []
    assert len(requests) == 3


@pytest.mark.usefixtures("quick")
def test_a_search_that_keeps_failing_is_worth_a_later_try(c1: Provider) -> None:
    with server([(503, {})]) as (root, requests), pytest.raises(ProviderUnavailableError, match=root) as fault:
        discover_day(c1.at(root), DAYS[0], AREA)
    assert fault.value.retryable
    assert len(requests) == 3


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_not_there_is_worth_a_later_try(c1: Provider) -> None:
    with pytest.raises(ProviderUnavailableError, match=r"127\.0\.0\.1:9"):
        discover_day(c1.at("http://127.0.0.1:9"), DAYS[0], AREA)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("status", "content"), [(400, {"description": "no"}), (200, b'{"type": "FeatureColl'), (200, {"hello": "world"})]
)
def test_an_answer_that_is_no_stac_is_terminal(c1: Provider, status: int, content: object) -> None:
    with server([(status, content)]) as (root, _), pytest.raises(ProviderAnswerError) as fault:
        discover_day(c1.at(root), DAYS[0], AREA)
    assert not fault.value.retryable


@pytest.mark.usefixtures("quick")
def test_paging_that_never_ends_is_ended(c1: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_MAX_ITEMS", 50)
    feature = {"type": "Feature", "id": "x", "properties": {"grid:code": "MGRS-32TQM"}, "geometry": None}
    page = EMPTY | {"features": [feature] * 10}
    with server([(200, page)]) as (root, requests):
        page["links"] = [{"rel": "next", "href": f"{root}/search", "method": "POST", "body": {"token": "again"}}]
        with pytest.raises(ProviderAnswerError, match="paging"):
            discover_day(c1.at(root), DAYS[0], AREA)
    assert len(requests) == 6
