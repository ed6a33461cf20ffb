"""Simulated scenes: determinism, grid, truth, clouds, offsets, files."""

import datetime as dt
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pystac
import pytest
import rasterio
from shapely import box
from shapely.geometry import shape

from earthsignature_assets.errors import InvalidKeyError, SimulationError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import Part, SceneRecipe, SimulatedScene, simulate_scene
from earthsignature_assets.simulator.landscape import CODES, Land, fill_land
from earthsignature_assets.simulator.noise import seed_of

KEY = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")


def read(scene: SimulatedScene, band: str) -> npt.NDArray[np.uint16]:
    with rasterio.open(scene.folder / f"{band}.tif") as dataset:
        pixels: npt.NDArray[np.uint16] = dataset.read(1)
        return pixels


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    recipe = SceneRecipe(KEY, size=640, cloud_cover=0.3, swath_edge=0.25)
    return simulate_scene(recipe, tmp_path_factory.mktemp("edged"), "http://127.0.0.1:1/files/")


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    return simulate_scene(SceneRecipe(KEY, size=1100), tmp_path_factory.mktemp("layered"))


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = SceneRecipe(KEY, size=530, cloud_cover=0.2, swath_edge=0.1)
    first = simulate_scene(recipe, tmp_path / "a", "http://host")
    second = simulate_scene(recipe, tmp_path / "b", "http://host")
    names = sorted(path.name for path in first.folder.iterdir())
    assert len(names) == 13
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name
    assert first.item == second.item == json.loads(first.item_path.read_text())


def test_seed_day_and_tile_change_the_right_files(tmp_path: Path) -> None:
    base = SceneRecipe(KEY, size=256)
    other_day = replace(base, key=SceneKey(dt.date(2026, 7, 10), 22, "32TQM"))
    other_tile = replace(base, key=SceneKey(dt.date(2026, 5, 1), 22, "32TPM"))
    recipes = {"base": base, "day": other_day, "seed": replace(base, seed=1), "tile": other_tile}
    scenes = {name: simulate_scene(recipe, tmp_path / name) for name, recipe in recipes.items()}
    truths = {name: read(scene, "truth") for name, scene in scenes.items()}
    assert np.array_equal(truths["base"], truths["day"])
    assert not np.array_equal(truths["base"], truths["seed"])
    assert not np.array_equal(truths["base"], truths["tile"])
    assert not np.array_equal(read(scenes["base"], "SCL"), read(scenes["day"], "SCL"))
    assert not np.array_equal(read(scenes["base"], "B04"), read(scenes["day"], "B04"))


def test_a_smaller_scene_is_the_corner_of_a_larger_one(tmp_path: Path) -> None:
    small = simulate_scene(SceneRecipe(KEY, size=300, cloud_cover=0), tmp_path / "small")
    large = simulate_scene(SceneRecipe(KEY, size=600, cloud_cover=0), tmp_path / "large")
    assert np.array_equal(read(small, "truth"), read(large, "truth")[:300, :300])
    # The last pixels of the smaller one are blurred without their neighbours.
    assert np.array_equal(read(small, "B08")[:296, :296], read(large, "B08")[:296, :296])
    assert np.array_equal(read(small, "B11")[:148, :148], read(large, "B11")[:148, :148])


def test_files_lie_on_the_tile_grid(layered: SimulatedScene) -> None:
    grid = tile_grid("32TQM")
    for band in (*S2_BANDS, "SCL", "truth"):
        resolution = 10 if band in ("B02", "B03", "B04", "B08", "truth") else 20
        with rasterio.open(layered.folder / f"{band}.tif") as dataset:
            assert dataset.crs.to_epsg() == grid.epsg
            assert dataset.transform == grid.at_resolution(resolution).transform
            assert dataset.shape == (11000 // resolution, 11000 // resolution)
            assert dataset.nodata == 0
            assert dataset.dtypes == ("uint8" if band == "SCL" else "uint16",)
            assert dataset.block_shapes == [(1024, 1024)]
            assert dataset.profile["compress"] == "deflate"
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.overviews(1) == ([2] if resolution == 10 else [])


def test_truth_is_corine_and_zero_exactly_at_no_data(edged: SimulatedScene) -> None:
    truth, classes = read(edged, "truth"), read(edged, "SCL")
    missing = classes.repeat(2, 0).repeat(2, 1) == 0
    assert np.array_equal(truth == 0, missing)
    assert set(np.unique(truth)) <= {0, *CODES}
    assert abs(missing.mean() - 0.25) < 0.01


def test_outside_the_swath_bands_hold_0_or_the_stray_1(edged: SimulatedScene) -> None:
    missing = read(edged, "SCL") == 0
    stray = 0
    for band in S2_BANDS:
        numbers = read(edged, band)
        outside = missing if len(numbers) == 320 else missing.repeat(2, 0).repeat(2, 1)
        assert set(np.unique(numbers[outside])) <= {0, 1}, band
        assert numbers[~outside].min() > 1000, band
        stray += bool((numbers[outside] == 1).any())
    assert 0 < stray < len(S2_BANDS)


def test_the_edge_is_slanted_and_lies_on_the_side_of_the_orbit(tmp_path: Path) -> None:
    east = read(simulate_scene(SceneRecipe(KEY, size=200, swath_edge=0.5), tmp_path), "SCL") == 0
    odd = SceneKey(KEY.day, 23, KEY.tile)
    west = read(simulate_scene(SceneRecipe(odd, size=200, swath_edge=0.5), tmp_path), "SCL") == 0
    assert east[:, -1].all()
    assert not east[:, 0].any()
    assert west[:, 0].all()
    assert not west[:, -1].any()
    # The ground track of a descending orbit runs to the south-west.
    assert west[0].sum() - west[-1].sum() == pytest.approx(0.246 * 100, abs=2)
    assert east[-1].sum() - east[0].sum() == pytest.approx(0.246 * 100, abs=2)


@pytest.mark.parametrize("wanted", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_cloud_cover_is_met(tmp_path: Path, wanted: float) -> None:
    scene = simulate_scene(SceneRecipe(KEY, size=400, cloud_cover=wanted, swath_edge=0.3), tmp_path)
    classes = read(scene, "SCL")
    share = np.isin(classes, (8, 9, 10)).sum() / (classes > 0).sum()
    assert share == pytest.approx(wanted, abs=0.02)
    assert scene.item["properties"]["eo:cloud_cover"] == pytest.approx(100 * share, abs=0.01)


def test_clouds_are_bright_and_shadows_dark(edged: SimulatedScene) -> None:
    classes = read(edged, "SCL").repeat(2, 0).repeat(2, 1)
    blue, near_infrared = read(edged, "B02"), read(edged, "B08")
    assert np.median(blue[classes == 9]) > 4 * np.median(blue[classes == 4])
    assert np.median(near_infrared[classes == 3]) < 0.75 * np.median(near_infrared[classes == 4])


def test_scene_classification_follows_the_land(layered: SimulatedScene) -> None:
    classes = read(layered, "SCL")
    truth = read(layered, "truth")[::2, ::2]
    clear = np.isin(classes, (2, 4, 5, 6))
    assert (classes[clear & (truth == 512)] == 6).all()
    assert (classes[clear & (truth == 313)] == 4).mean() > 0.95
    assert (classes[clear & (truth == 121)] == 5).mean() > 0.5


def test_every_offset_convention_holds_the_same_reflectance(tmp_path: Path) -> None:
    base = SceneRecipe(KEY, size=256, swath_edge=0.2, collection="sentinel-2-l2a")
    raw = simulate_scene(base, tmp_path / "raw")
    applied = simulate_scene(replace(base, offset_applied=True), tmp_path / "applied")
    old = simulate_scene(replace(base, baseline="02.14"), tmp_path / "old")
    c1 = simulate_scene(replace(base, collection="sentinel-2-c1-l2a"), tmp_path / "c1")
    for band in S2_BANDS:
        numbers = read(raw, band).astype(np.int64)
        reflectance = np.where(numbers > 1, numbers - 1000, numbers)
        assert np.array_equal(read(applied, band), reflectance), band
        assert np.array_equal(read(old, band), reflectance), band
        assert np.array_equal(read(c1, band), numbers), band
    flags = [scene.item["properties"].get("earthsearch:boa_offset_applied") for scene in (raw, applied, old, c1)]
    offsets = [scene.item["assets"]["red"]["raster:bands"][0]["offset"] for scene in (raw, applied, old, c1)]
    assert flags == [False, True, False, None]
    assert offsets == [-0.1, -0.1, 0, -0.1]


def test_two_parts_of_a_datatake_make_the_whole(tmp_path: Path) -> None:
    base = SceneRecipe(KEY, size=300, cloud_cover=0)
    whole = simulate_scene(base, tmp_path)
    north = simulate_scene(replace(base, part=Part.NORTH), tmp_path)
    south = simulate_scene(replace(base, part=Part.SOUTH), tmp_path)
    assert len({whole.item["id"], south.item["id"]}) == 2
    assert north.item["properties"]["s2:datatake_id"] == south.item["properties"]["s2:datatake_id"]
    assert north.item["properties"]["s2:product_uri"] != south.item["properties"]["s2:product_uri"]
    upper, lower = read(north, "truth"), read(south, "truth")
    assert not ((upper > 0) & (lower > 0)).any()
    assert ((upper > 0) | (lower > 0)).all()
    assert abs((upper > 0).mean() - 0.5) < 0.02
    assert upper[0].all()
    assert lower[-1].all()


def test_a_reprocessed_duplicate_differs_in_name_only(tmp_path: Path) -> None:
    base = SceneRecipe(KEY, size=128, baseline="05.09")
    first = simulate_scene(base, tmp_path)
    again = simulate_scene(replace(base, baseline="05.11", reprocessed=1), tmp_path)
    assert first.item["id"] != again.item["id"]
    assert first.item["properties"]["s2:generation_time"] < again.item["properties"]["s2:generation_time"]
    assert first.item["properties"]["datetime"] == again.item["properties"]["datetime"]
    assert np.array_equal(read(first, "B8A"), read(again, "B8A"))


def test_the_footprint_is_that_of_the_valid_pixels(edged: SimulatedScene) -> None:
    footprint = shape(edged.item["geometry"])
    whole = box(*tile_grid("32TQM").footprint().bounds)
    assert footprint.is_valid
    assert whole.buffer(1e-3).contains(footprint)
    assert edged.item["bbox"] == list(footprint.bounds)
    # Degrees of longitude shrink with the latitude, areas with them.
    degrees = footprint.area * 111_320**2 * math.cos(math.radians(footprint.centroid.y))
    assert degrees == pytest.approx(0.75 * 6400**2, rel=0.01)
    assert edged.item["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(25, abs=1)


def test_hrefs_follow_the_base(edged: SimulatedScene, layered: SimulatedScene) -> None:
    item = pystac.Item.from_dict(edged.item)
    assert item.assets["red"].href == (f"http://127.0.0.1:1/files/sentinel-2-c1-l2a/32/T/QM/2026/5/{item.id}/B04.tif")
    assert all(Path(asset["href"]).is_file() for asset in layered.item["assets"].values())
    assert not any("truth" in asset["href"] for asset in edged.item["assets"].values())


@pytest.mark.parametrize("tile", ["32TQM", "33TWN", "34VFL"])
def test_a_scene_of_11_km_shows_every_class(tile: str) -> None:
    land = Land.empty(1098, 1098)
    fill_land(land, seed_of("land", tile, 0), 0.5, 2.7, 0, 1098)
    codes, counts = np.unique(land.truth, return_counts=True)
    assert set(codes) == set(CODES)
    assert counts.min() > 2500
    assert counts.max() < 0.6 * land.truth.size


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size": 511}, "size"),
        ({"size": 10982}, "size"),
        ({"cloud_cover": 1.2}, "cloud_cover"),
        ({"swath_edge": -0.1}, "swath_edge"),
        ({"collection": "sentinel-2-l1c"}, "collection"),
        ({"baseline": "5"}, "baseline"),
        ({"offset_applied": True}, "sentinel-2-l2a"),
        ({"baseline": "03.01"}, "sentinel-2-l2a"),
        ({"baseline": "02.14", "offset_applied": True, "collection": "sentinel-2-l2a"}, "baseline"),
        ({"reprocessed": -1}, "reprocessed"),
    ],
)
def test_contradicting_recipes_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(SimulationError, match=named):
        SceneRecipe(**{"key": KEY, "size": 128, **change})


def test_a_scene_without_a_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="swath"):
        simulate_scene(SceneRecipe(KEY, size=64, swath_edge=1.0), tmp_path)


def test_an_unknown_tile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeyError, match="32TAM"):
        simulate_scene(SceneRecipe(SceneKey(KEY.day, 22, "32TAM"), size=64), tmp_path)
