import copy
import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import ItemError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.imagery.days.day_archive import Added, DayArchive
from earthsignature_assets.imagery.providers.provider import PROVIDERS, OffsetRule, Provider
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SimulatedScene


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_simulated_item_reads_as_a_scene(scene: Scene) -> None:
    assert scene.key == SceneKey(dt.date(2026, 5, 1), 22, "32TQM")
    assert scene.grid.shape == (600, 600)
    assert set(scene.parts[0].bands) == set(S2_BANDS)
    assert scene.parts[0].bands["B04"].offset_dn == -1000
    assert scene.product_id.endswith("_20260501T130926")


# Real items, and the offset still to be added to their digital numbers.
@pytest.mark.parametrize(
    ("item_id", "baseline", "offset_dn"),
    [
        ("S2A_33TWN_20161202_0_L2A", (0, 1), 0),
        ("S2A_33TWN_20220122_0_L2A", (3, 1), 0),
        ("S2B_33TWN_20220130_0_L2A", (4, 0), 0),  # the flag is true, although raster:bands says -0.1
        ("S2B_33TWN_20220226_0_L2A", (4, 0), -1000),  # the flag is false
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


def test_data_from_before_2022_carry_the_offset_once_reprocessed(real_data: Path) -> None:
    """Sensed in 2018 and reprocessed with baseline 05.00: the baseline decides, not the date."""
    stated = read(real_data / "stac_items_e84_v1_europe" / "S2B_33TWN_20180806_0_L2A.json")
    told = {"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": False}
    for asset in stated["assets"].values():
        for described in asset.get("raster:bands", ()):
            described["offset"] = -0.1
    item = scene_item(stated | {"properties": stated["properties"] | told}, PROVIDERS["earth-search-l2a"], S2_BANDS)
    assert (item.sensed_at.year, item.baseline, item.bands["B04"].offset_dn) == (2018, (5, 0), -1000)
    by_baseline = dataclasses.replace(PROVIDERS["earth-search-l2a"], offset_rule=OffsetRule.BASELINE)
    for baseline, offset_dn in (("00.01", 0), ("05.00", -1000)):
        properties = stated["properties"] | {"s2:processing_baseline": baseline}
        item = scene_item(stated | {"properties": properties}, by_baseline, S2_BANDS)
        assert {file.offset_dn for file in item.bands.values()} == {offset_dn}


@pytest.mark.parametrize(
    ("text", "numbers"), [("5.09", (5, 9)), ("05.09", (5, 9)), ("2.05", (2, 5)), ("04.00", (4, 0))]
)
def test_baselines_are_pairs_of_numbers_in_every_notation(
    simulated: SimulatedScene, c1: Provider, text: str, numbers: tuple[int, int]
) -> None:
    properties = simulated.item["properties"] | {"s2:processing_baseline": text}
    assert scene_item(simulated.item | {"properties": properties}, c1, S2_BANDS).baseline == numbers


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("2026-05-01T23:59:59.999Z", dt.date(2026, 5, 1)),
        ("2026-05-02T00:00:00Z", dt.date(2026, 5, 2)),
        ("2026-05-02T01:30:00+02:00", dt.date(2026, 5, 1)),
        ("2026-04-30T20:00:00-05:00", dt.date(2026, 5, 1)),
        ("2028-02-29T10:00:00Z", dt.date(2028, 2, 29)),
    ],
)
def test_the_day_of_a_scene_is_in_utc_whatever_the_zone_of_its_time(
    simulated: SimulatedScene, c1: Provider, told: str, day: dt.date
) -> None:
    properties = simulated.item["properties"] | {"datetime": told}
    assert scene_item(simulated.item | {"properties": properties}, c1, S2_BANDS).key.day == day


@pytest.mark.parametrize("platform", ["S2A", "S2B", "S2C", "S2D"])
def test_every_platform_of_the_series_is_read(simulated: SimulatedScene, c1: Provider, platform: str) -> None:
    properties = simulated.item["properties"]
    uri = platform + properties["s2:product_uri"][3:]
    item = scene_item(simulated.item | {"properties": properties | {"s2:product_uri": uri}}, c1, S2_BANDS)
    assert item.product_id == uri.removesuffix(".SAFE")
    assert item.datatake.startswith(f"{platform}_2026")


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


def test_every_published_baseline_is_read_as_numbers(real_data: Path) -> None:
    paths = sorted((real_data / "stac_items_e84_v1_europe").glob("*.json"))
    items = [scene_item(read(path), PROVIDERS["earth-search-l2a"], S2_BANDS) for path in paths]
    assert {item.baseline for item in items} >= {(0, 1), (2, 7), (2, 14), (3, 1), (4, 0), (5, 9)}
    assert max(items, key=lambda item: item.baseline).item_id == "S2A_32TMS_20221207_0_L2A"
    # Sensed in 2018 and reprocessed in 2020: nothing is guessed from the dates.
    reprocessed = next(item for item in items if item.item_id == "S2B_33TWN_20180806_0_L2A")
    assert (reprocessed.sensed_at.year, reprocessed.generated_at.year) == (2018, 2020)


def test_a_cdse_item_reads_as_a_scene(real_data: Path) -> None:
    item = scene_item(
        read(real_data / "stac_other" / "cdse_sentinel-2-l2a_T55WFR.json")["features"][0], PROVIDERS["cdse"], S2_BANDS
    )
    assert str(item.key) == "2026-05-27_R017_T55WFR"
    assert item.product_id == "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005"
    assert (item.baseline, item.product_type, item.datatake) == ((5, 12), "S2MSI2A", "S2C_20260527T014651")
    assert {band.offset_dn for band in item.bands.values()} == {-1000}
    assert item.bands["B02"].href.startswith("s3://eodata/")
    assert item.bands["B02"].href.endswith("_B02_10m.jp2")
    assert item.bands["B05"].href.endswith("_B05_20m.jp2")
    assert item.classification is not None
    assert item.classification.href.endswith("_SCL_20m.jp2")
    assert item.grid == tile_grid("55WFR")
    assert item.access.connections == 4


def test_a_planetary_computer_item_reads_as_a_scene(real_data: Path) -> None:
    published = read(real_data / "stac_items_e84_v1_europe" / "S2B_33TWN_20220226_0_L2A.json")
    # The same product in the Planetary Computer's dialect: ESA's keys, no scale, no offset, another property.
    keys = {key: band for band, key in PROVIDERS["earth-search"].band_assets.items()} | {"scl": "SCL"}
    assets = {
        keys[key]: {name: value for name, value in asset.items() if name != "raster:bands"}
        for key, asset in published["assets"].items()
        if key in keys
    }
    properties = dict(published["properties"])
    del properties["grid:code"], properties["earthsearch:boa_offset_applied"]
    properties["s2:mgrs_tile"] = "33TWN"
    stated = published | {"assets": assets, "properties": properties, "collection": "sentinel-2-l2a"}
    item = scene_item(stated, PROVIDERS["planetary-computer"], S2_BANDS)
    assert str(item.key) == "2022-02-26_R079_T33TWN"
    assert {band.offset_dn for band in item.bands.values()} == {-1000}
    older = stated | {"properties": properties | {"s2:processing_baseline": "02.12"}}
    older_item = scene_item(older, PROVIDERS["planetary-computer"], S2_BANDS)
    assert {band.offset_dn for band in older_item.bands.values()} == {0}
    with pytest.raises(ItemError, match="s2:processing_baseline"):
        scene_item(
            stated | {"properties": properties | {"s2:processing_baseline": None}},
            PROVIDERS["planetary-computer"],
            S2_BANDS,
        )


def test_an_l1c_item_reads_as_a_scene_of_an_l1c_provider(real_data: Path) -> None:
    item = read(real_data / "stac_other" / "e84_v1_sentinel-2-l1c_27VWK_search.json")["features"][0]
    scene = Scene((scene_item(item, PROVIDERS["earth-search-l1c"], S2_BANDS),))
    assert (scene.level, scene.parts[0].classification) == ("L1C", None)
    band = scene.parts[0].bands["B8A"]
    assert (band.href, band.offset_dn) == ("s3://sentinel-s2-l1c/tiles/27/V/WK/2024/2/6/0/B8A.jp2", -1000)
    assert scene.grid == tile_grid("27VWK")


def test_eopf_records_without_time_and_bands_are_refused_by_name(real_data: Path) -> None:
    for path in sorted((real_data / "stac_other").glob("eopf_*.json")):
        record = read(path)
        with pytest.raises(ItemError, match=record["id"]):
            scene_item(record | {"collection": "sentinel-2-l2a"}, PROVIDERS["cdse"], S2_BANDS)


def test_items_of_all_providers_survive_the_archive(real_data: Path, tmp_path: Path) -> None:
    other, europe = real_data / "stac_other", real_data / "stac_items_e84_v1_europe"
    for name, items in (
        ("cdse", read(other / "cdse_sentinel-2-l2a_T55WFR.json")["features"]),
        ("earth-search", read(other / "e84_v1_sentinel-2-c1-l2a_T13TDE_x10.json")["features"]),
        ("earth-search-l1c", read(other / "e84_v1_sentinel-2-l1c_27VWK_search.json")["features"]),
        ("earth-search-l2a", [read(path) for path in sorted(europe.glob("*.json"))]),
    ):
        archive, day = DayArchive(tmp_path, name), dt.date(2026, 5, 1)
        assert archive.add_items(day, items).new == len(items)
        assert archive.add_items(day, items) == Added(0, 0)
        before = {item["id"]: scene_item(item, PROVIDERS[name], S2_BANDS) for item in items}
        assert {item["id"]: scene_item(item, PROVIDERS[name], S2_BANDS) for item in archive.items(day)} == before
    assert len(list((tmp_path / "items").iterdir())) == 4  # they never mix


def test_a_footprint_across_the_antimeridian_is_cut(simulated: SimulatedScene, c1: Provider) -> None:
    ring = [[179, 66], [-179, 66], [-179, 67], [179, 67], [179, 66]]
    item = scene_item(simulated.item | {"geometry": {"type": "Polygon", "coordinates": [ring]}}, c1, S2_BANDS)
    assert item.footprint.area == pytest.approx(2)


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
        case "tile":
            properties["grid:code"] = None
        case "epsg":
            properties["proj:epsg"] = "unknown"
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
        ("tile", "grid:code or s2:mgrs_tile"),
        ("epsg", "'unknown' is not an EPSG"),
    ],
)
def test_an_item_without_a_property_is_refused_by_name(
    simulated: SimulatedScene, c1: Provider, how: str, named: str
) -> None:
    with pytest.raises(ItemError, match=named) as refusal:
        scene_item(broken(simulated.item, how), c1, S2_BANDS)
    assert simulated.item["id"] in str(refusal.value)
