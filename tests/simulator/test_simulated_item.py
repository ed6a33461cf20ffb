"""Comparison of the simulated item with published ones."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.keys import SceneKey, parse_product_id
from earthsignature_assets.simulator import SceneRecipe, simulate_scene

DATA = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = {
    "sentinel-2-c1-l2a": DATA / "stac_other" / "e84_v1_sentinel-2-c1-l2a_T13TDE_x10.json",
    "sentinel-2-l2a": DATA / "stac_items_e84_v1_europe" / "S2B_33TWN_20220226_0_L2A.json",
}
# Earth Search's own bookkeeping, and properties without a source in a simulated scene.
LEFT_OUT = {
    "earthsearch:payload_id",
    "earthsearch:s3_path",
    "processing:software",
    "s2:reflectance_conversion_factor",
    "storage:platform",
    "storage:region",
    "storage:requester_pays",
    "view:azimuth",
    "view:incidence_angle",
}


def simulated(collection: str, folder: Path) -> dict[str, Any]:
    key = SceneKey(dt.date(2022, 2, 26), 79, "33TWN")
    return simulate_scene(SceneRecipe(key, size=64, collection=collection), folder).item


def published(collection: str) -> dict[str, Any]:
    path = PUBLISHED[collection]
    if not path.is_file():
        pytest.skip(f"published items are absent: {path.name} of the shared data")
    document = json.loads(path.read_text())
    item: dict[str, Any] = document["features"][0] if "features" in document else document
    return item


@pytest.mark.parametrize("collection", PUBLISHED)
def test_properties_are_those_of_a_published_item(collection: str, tmp_path: Path) -> None:
    ours, theirs = simulated(collection, tmp_path), published(collection)
    assert set(ours["properties"]) == set(theirs["properties"]) - LEFT_OUT
    for name, value in ours["properties"].items():
        accepted = (int, float) if isinstance(theirs["properties"][name], int | float) else str
        if isinstance(theirs["properties"][name], list | dict):
            accepted = type(theirs["properties"][name])
        assert isinstance(value, accepted), name
    assert ours["stac_version"] == theirs["stac_version"]
    assert set(ours["stac_extensions"]) == set(theirs["stac_extensions"])


@pytest.mark.parametrize("collection", PUBLISHED)
def test_assets_are_described_as_published(collection: str, tmp_path: Path) -> None:
    ours, theirs = simulated(collection, tmp_path), published(collection)
    assert len(ours["assets"]) == 11
    for key, asset in ours["assets"].items():
        expected = theirs["assets"][key]
        assert set(asset) == set(expected), key
        for field in ("type", "title", "eo:bands", "gsd", "raster:bands", "roles"):
            assert asset.get(field) == expected.get(field), (key, field)
        assert Path(asset["href"]).name == Path(expected["href"]).name


@pytest.mark.parametrize("collection", PUBLISHED)
def test_the_product_name_parses_and_agrees(collection: str, tmp_path: Path) -> None:
    properties = simulated(collection, tmp_path)["properties"]
    name = parse_product_id(properties["s2:product_uri"])
    assert name.startswith("S2B_MSIL2A_20220226T")
    assert "_N0511_R079_T33TWN_" in name
    assert properties["s2:datatake_id"].split("_")[1] == name.split("_")[2]
    assert properties["datetime"].startswith("2022-02-26T")
