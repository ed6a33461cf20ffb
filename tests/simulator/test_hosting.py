"""Servers on loopback: ranges over HTTP, STAC searches, clear errors."""

import datetime as dt
from pathlib import Path

import pystac_client
import pytest
import rasterio
import requests
from rasterio.windows import Window

from earthsignature_assets.errors import ProviderUnavailableError
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene


def test_gdal_reads_a_scene_by_ranges(tmp_path: Path) -> None:
    with serve_files(tmp_path) as url:
        scene = simulate_scene(SceneRecipe(SceneKey(dt.date(2026, 5, 1), 22, "32TQM"), size=128), tmp_path, url)
        href = scene.item["assets"]["red"]["href"]
        assert href.startswith(url)
        answer = requests.get(href, headers={"Range": "bytes=0-99"}, timeout=10)
        assert answer.status_code == 206
        assert len(answer.content) == 100
        window = Window(30, 40, 20, 10)
        with rasterio.open(href) as remote, rasterio.open(scene.folder / "B04.tif") as local:
            assert (remote.read(1, window=window) == local.read(1, window=window)).all()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)


def test_a_stac_api_is_searched_by_collection_day_and_place(tmp_path: Path) -> None:
    days = (dt.date(2026, 5, 1), dt.date(2026, 5, 4))
    scenes = [
        simulate_scene(SceneRecipe(SceneKey(day, 22, tile), size=64, collection=collection), tmp_path)
        for collection in ("sentinel-2-c1-l2a", "sentinel-2-l2a")
        for day in days
        for tile in ("32TQM", "33TWN")
    ]
    with serve_stac([scene.item_path for scene in scenes]) as root:
        client = pystac_client.Client.open(root)
        assert {entry.id for entry in client.get_collections()} == {"sentinel-2-c1-l2a", "sentinel-2-l2a"}
        wanted = scenes[0].item
        found = client.search(
            collections=[wanted["collection"]], datetime="2026-05-01", bbox=wanted["bbox"]
        ).items_as_dicts()
        answers = list(found)
        assert [answer["id"] for answer in answers] == [wanted["id"]]
        assert answers[0]["assets"] == wanted["assets"]
        assert answers[0]["properties"] == wanted["properties"]
        paged = client.search(collections=["sentinel-2-c1-l2a"], limit=1).items_as_dicts()
        assert len({item["id"] for item in paged}) == 4


def test_a_server_that_does_not_start_reports_why(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailableError, match=r"absent\.json"), serve_stac([tmp_path / "absent.json"]):
        pass
