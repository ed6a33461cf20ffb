from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import ItemError
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.band_asset import (
    absolute_href,
    stated_grid,
    stated_scale_and_offset,
    stated_type_and_no_data,
)
from earthsignature_assets.imagery.scenes.scene import scene_item
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SimulatedScene

SELF = "https://example.org/items/a/item.json"


def item_at(href: str) -> dict[str, Any]:
    return {"links": [{"rel": "root", "href": "https://example.org"}, {"rel": "self", "href": href}]}


@pytest.mark.parametrize(
    ("href", "base", "absolute"),
    [
        ("./B02.tif", SELF, "https://example.org/items/a/B02.tif"),
        ("../b/B02.tif", SELF, "https://example.org/items/b/B02.tif"),
        ("B02.tif", "s3://bucket/a/item.json", "s3://bucket/a/B02.tif"),
        ("B02.tif", "/data/a/item.json", "/data/a/B02.tif"),
        ("B02.tif", "file:///data/sp%20ace/item.json", "/data/sp ace/B02.tif"),
        ("file:///data/sp%20ace%20%C3%BC/B02.tif", SELF, "/data/sp ace ü/B02.tif"),
        ("file://localhost/data/B02.tif", SELF, "/data/B02.tif"),
        ("/data/odd dir+ü#1?x/B02.tif", SELF, "/data/odd dir+ü#1?x/B02.tif"),
        ("http://h/sp%20ace/B02.tif", SELF, "http://h/sp%20ace/B02.tif"),
        ("s3://bucket/B02.tif", SELF, "s3://bucket/B02.tif"),
    ],
)
def test_addresses_are_resolved_against_the_self_link(href: str, base: str, absolute: str) -> None:
    assert absolute_href("a", item_at(base), href) == absolute


def test_a_relative_address_without_a_self_link_is_named() -> None:
    with pytest.raises(ItemError, match=r"relative href './B02.tif' and no self link"):
        absolute_href("a", {"links": []}, "./B02.tif")


FACTS = {"scale": 0.0001, "offset": -0.1}


@pytest.mark.parametrize(
    ("asset", "properties"),
    [
        ({"raster:bands": [FACTS]}, {}),
        ({"bands": [{"name": "B02", "raster:scale": 0.0001, "raster:offset": -0.1}]}, {}),
        ({"bands": [{"name": "B03", "scale": 1}, {"name": "B02", **FACTS}]}, {}),
        ({"bands": [{"name": "B02"}], "raster:scale": 0.0001, "raster:offset": -0.1}, {}),
        ({"bands": [{"name": "B02", "raster:scale": 0.0001}]}, {"raster:offset": -0.1}),
        ({}, {"raster:scale": 0.0001, "raster:offset": -0.1}),
        ({"raster:bands": None, "raster:scale": None, "bands": [FACTS]}, {}),
        ({"raster:bands": [FACTS], "raster:offset": 0}, {"raster:offset": 0}),
    ],
)
def test_scale_and_offset_are_found_wherever_a_migration_left_them(
    asset: dict[str, Any], properties: dict[str, Any]
) -> None:
    assert stated_scale_and_offset(asset, properties, "B02") == (0.0001, -0.1)


def test_a_no_data_value_that_is_not_a_number_states_nothing() -> None:
    assert stated_type_and_no_data({"raster:bands": [{"nodata": "nan", "data_type": "uint16"}]}, {}, "B02") == (
        "uint16",
        None,
    )
    assert stated_type_and_no_data({"bands": [{"nodata": -10000, "data_type": "int16"}]}, {}, "B02") == (
        "int16",
        -10000,
    )
    assert stated_type_and_no_data({}, {}, "B02") == (None, None)


def test_a_grid_is_stated_by_the_asset_and_at_ten_metres_by_the_item_too() -> None:
    of_item = {"proj:transform": [10, 0, 699960, 0, -10, 4700040], "proj:shape": [384, 384], "proj:code": "EPSG:32632"}
    assert stated_grid("a", {}, of_item, inherit=False) is None
    inherited = stated_grid("a", {}, of_item, inherit=True)
    assert inherited is not None
    assert (inherited.epsg, inherited.resolution_m, inherited.shape) == (32632, 10, (384, 384))
    asset = {"proj:transform": [20, 0, 699960, 0, -20, 4700040, 0, 0, 1], "proj:shape": [192, 192]}
    own = stated_grid("a", asset, of_item, inherit=False)
    assert own is not None
    assert (own.epsg, own.resolution_m, own.bounds) == (32632, 20, inherited.bounds)


def test_an_item_of_stac_1_1_reads_like_that_of_1_0(simulated: SimulatedScene, c1: Provider) -> None:
    migrated = {**simulated.item, "stac_version": "1.1.0"}
    migrated["properties"] = {**simulated.item["properties"]}
    migrated["properties"]["proj:code"] = f"EPSG:{migrated['properties'].pop('proj:epsg')}"
    migrated["assets"] = {}
    for key, asset in simulated.item["assets"].items():
        moved = {name: value for name, value in asset.items() if name not in ("raster:bands", "eo:bands")}
        facts = asset.get("raster:bands", [{}])[0]
        raster = {f"raster:{name}": facts[name] for name in ("scale", "offset") if name in facts}
        plain = {name: facts[name] for name in ("nodata", "data_type") if name in facts}
        migrated["assets"][key] = moved | {"bands": [raster | plain]}
    assert scene_item(migrated, c1, S2_BANDS) == scene_item(simulated.item, c1, S2_BANDS)


SPIKE = [[11.43, 42.39], [11.47, 42.39], [11.47, 42.42], [11.5, 42.42], [11.47, 42.42], [11.43, 42.42], [11.43, 42.39]]


def test_footprints_that_repair_into_polygon_and_line_are_solid_or_absent(
    simulated: SimulatedScene, c1: Provider, tmp_path: Path
) -> None:
    def footprint(geometry: Any) -> Any:
        return scene_item({**simulated.item, "geometry": geometry}, c1, S2_BANDS).footprint

    spike = footprint({"type": "Polygon", "coordinates": [SPIKE]})
    assert spike.geom_type == "Polygon"
    assert spike.bounds == (11.43, 42.39, 11.47, 42.42)
    high = footprint({"type": "Polygon", "coordinates": [[[*place, 200.0] for place in SPIKE[:3] + SPIKE[-2:]]]})
    assert not high.has_z
    whole = footprint(None)
    assert whole.equals(scene_item(simulated.item, c1, S2_BANDS).grid.footprint())
    with pytest.raises(ItemError, match="expected a polygon"):
        footprint({"type": "LineString", "coordinates": SPIKE})
