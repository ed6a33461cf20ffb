import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from shapely import box
from shapely.geometry import mapping

from earthsignature_assets.errors import ConfigurationError, InvalidKeyError
from earthsignature_assets.imagery.scenes.area import AreaOfInterest, europe_tiles

SQUARE = "POLYGON ((10 40, 14 40, 14 45, 10 45, 10 40))"


def item(tile: str, geometry: Any = None) -> dict[str, Any]:
    return {"id": "x", "properties": {"grid:code": f"MGRS-{tile}"}, "geometry": mapping(geometry) if geometry else None}


def test_tiles_contain_exactly_their_items() -> None:
    area = AreaOfInterest.parse("32TQM, T07HFE")
    assert area.tiles == {"32TQM", "07HFE"}
    assert area.holds(item("7HFE"))
    assert not area.holds(item("33TUG", area.geometry))


def test_a_polygon_contains_every_item_that_touches_it() -> None:
    area = AreaOfInterest.parse(SQUARE)
    assert area.holds(item("33TUG", box(13.9, 44, 15, 46)))
    assert not area.holds(item("33TUG", box(14.1, 44, 15, 46)))
    assert area.boxes == [(10, 40, 14, 45)]


def test_an_item_without_a_place_belongs_to_the_area() -> None:
    assert AreaOfInterest.parse("32TQM").holds({"id": "x", "properties": {}})
    assert AreaOfInterest.parse(SQUARE).holds({"id": "x", "properties": {}, "geometry": None})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("area.geojson", mapping(box(10, 40, 14, 45))),
        ("area.json", {"type": "Feature", "properties": {}, "geometry": mapping(box(10, 40, 14, 45))}),
        (
            "area.geojson",
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "properties": {}, "geometry": mapping(half)}
                    for half in (box(10, 40, 12, 45), box(12, 40, 14, 45))
                ],
            },
        ),
        ("area.wkt", SQUARE),
    ],
)
def test_an_area_is_read_from_a_file(tmp_path: Path, name: str, content: Any) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert AreaOfInterest.parse(str(path)).geometry.equals(box(10, 40, 14, 45))


@pytest.mark.parametrize(
    "text",
    [
        "POLYGON ((",
        "POINT (1 2)",
        "POLYGON EMPTY",
        "POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))",
        "POLYGON ((0 80, 1 80, 1 95, 0 80))",
        "99XYZ",
        "atlantis",
        "",
    ],
)
def test_an_invalid_area_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeyError):
        AreaOfInterest.parse(text)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, ConfigurationError),
        ("{", ConfigurationError),
        ('{"type": "Feature", "geometry": null}', InvalidKeyError),
        ('{"type": "Point", "coordinates": [1, 2]}', InvalidKeyError),
        ("{}", InvalidKeyError),
    ],
)
def test_a_file_without_an_area_is_named(tmp_path: Path, content: str | None, error: type[Exception]) -> None:
    path = tmp_path / "area.geojson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match="area"):
        AreaOfInterest.parse(str(path))


@pytest.mark.parametrize(
    "wkt",
    [
        "POLYGON ((178 60, 183 60, 183 62, 178 62, 178 60))",  # longitudes beyond 180
        "POLYGON ((178 60, -177 60, -177 62, 178 62, 178 60))",  # a ring that jumps
        "POLYGON ((178 60, 178 62, -177 62, -177 60, 178 60))",  # clockwise
        "MULTIPOLYGON (((178 60, 180 60, 180 62, 178 62, 178 60)), ((-180 60, -177 60, -177 62, -180 62, -180 60)))",
    ],
)
def test_areas_across_the_antimeridian_are_cut_there(wkt: str) -> None:
    area = AreaOfInterest.of_wkt(wkt)
    assert area.geometry.area == pytest.approx(10)
    assert sorted(area.boxes) == [(-180, 60, -177, 62), (178, 60, 180, 62)]
    assert area.holds(item("01VCJ", box(-179, 61, -178, 62)))
    assert area.holds(item("60VXR", box(179.5, 61, 181, 62)))
    assert not area.holds(item("32VNM", box(9, 61, 10, 62)))


def test_a_tile_on_the_antimeridian_is_small() -> None:
    area = AreaOfInterest.of_tiles("01WCP")
    assert area.geometry.area < 5
    assert all(east - west < 3 for west, _, east, _ in area.boxes)


def test_europe_is_its_land_tiles(real_data: Path) -> None:
    tiles = gpd.read_parquet(real_data / "mgrs_europe" / "s2_mgrs_tiles_europe.parquet").set_index("Name")
    europe = AreaOfInterest.parse("Europe")
    assert europe.tiles == set(europe_tiles())
    assert 1300 < len(europe.tiles) < 1600
    assert tiles.loc[sorted(europe.tiles), "Land"].all()
    published = tiles.loc[sorted(europe.tiles)].geometry.union_all()
    assert europe.geometry.intersection(published).area / published.area > 0.98
    # Lisbon, Reykjavík, North Cape, Sicily, Crete, Cyprus, Ankara, Kyiv, Tenerife, the Azores
    assert {"29SMC", "27VVL", "35WMV", "33SVB", "35SKV", "36SVD", "36TVK", "36UUB", "28RCS", "26SMJ"} <= europe.tiles
    # the Atlantic, Algiers, Cairo, Greenland
    assert not {"27TVG", "31SDA", "36RUU", "25WES"} & europe.tiles
    assert len(europe.boxes) == 1
