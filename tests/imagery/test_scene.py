import copy
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import ItemError
from earthsignature_assets.imagery.provider import PROVIDERS, Provider
from earthsignature_assets.imagery.scene import Scene, scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.models.repository import S2_BANDS
from earthsignature_assets.simulator import SimulatedScene


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_simulated_item_reads_as_a_scene(scene: Scene) -> None:
    assert scene.key == SceneKey(dt.date(2026, 5, 1), 22, "32TQM")
    assert scene.grid.shape == (600, 600)
    assert set(scene.parts[0].bands) == set(S2_BANDS)
    assert scene.parts[0].bands["B04"].offset_dn == -1000
    assert scene.product_id.endswith("_20260501T130926")


# What the real items say, and what is still to be added to their digital numbers.
@pytest.mark.parametrize(
    ("item_id", "baseline", "offset_dn"),
    [
        ("S2A_33TWN_20161202_0_L2A", (0, 1), 0),
        ("S2A_33TWN_20220122_0_L2A", (3, 1), 0),
        ("S2B_33TWN_20220130_0_L2A", (4, 0), 0),  # the flag says applied, raster:bands still says -0.1
        ("S2B_33TWN_20220226_0_L2A", (4, 0), -1000),  # the flag says not applied
        ("S2A_32TMS_20221207_0_L2A", (5, 9), 0),
    ],
)
def test_the_offset_comes_from_the_item(
    real_data: Path, item_id: str, baseline: tuple[int, int], offset_dn: int
) -> None:
    item = scene_item(
        read(real_data / "stac_items_e84_v1_europe" / f"{item_id}.json"), PROVIDERS["earth-search-l2a"], S2_BANDS
    )
    assert item.baseline == baseline
    assert {band.offset_dn for band in item.bands.values()} == {offset_dn}


def test_collection_1_items_carry_their_offset(real_data: Path, c1: Provider) -> None:
    items = read(real_data / "stac_other" / "e84_v1_sentinel-2-c1-l2a_T13TDE_x10.json")["features"]
    parsed = [scene_item(item, c1, S2_BANDS) for item in items]
    assert {band.offset_dn for item in parsed for band in item.bands.values()} == {-1000}
    assert {item.key.tile for item in parsed} == {"13TDE"}
    assert {item.key.relative_orbit for item in parsed} == {98, 141}


def test_l1c_is_refused_with_its_level(real_data: Path, c1: Provider) -> None:
    item = read(real_data / "stac_other" / "e84_v1_sentinel-2-l1c_27VWK_search.json")["features"][0]
    with pytest.raises(ItemError, match="collections are never mixed"):
        scene_item(item, c1, S2_BANDS)
    with pytest.raises(ItemError, match="S2MSI1C"):
        scene_item(item | {"collection": c1.collection}, c1, S2_BANDS)


def broken(item: dict[str, Any], how: str) -> dict[str, Any]:
    item = copy.deepcopy(item)
    properties, assets = item["properties"], item["assets"]
    match how:
        case "band":
            del assets["swir16"]
        case "offset":
            del assets["red"]["raster:bands"]
        case "scale":
            assets["red"]["raster:bands"][0]["scale"] = 1.0
        case "baseline":
            properties["s2:processing_baseline"] = "four"
        case "product":
            properties["s2:product_uri"] = "nonsense.SAFE"
        case "geometry":
            item["geometry"] = {"type": "Point", "coordinates": [11, 42]}
        case "grid":
            del assets["blue"]["proj:transform"]
        case "datetime":
            properties["datetime"] = None
    return item


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("band", "B11.*swir16"),
        ("offset", "B04.*raster:bands"),
        ("scale", "B04.*scale"),
        ("baseline", "'four'"),
        ("product", "nonsense"),
        ("geometry", "Point"),
        ("grid", "proj:transform"),
        ("datetime", "datetime"),
    ],
)
def test_an_item_without_a_fact_is_refused_by_name(
    simulated: SimulatedScene, c1: Provider, how: str, named: str
) -> None:
    with pytest.raises(ItemError, match=named) as refusal:
        scene_item(broken(simulated.item, how), c1, S2_BANDS)
    assert simulated.item["id"] in str(refusal.value)
