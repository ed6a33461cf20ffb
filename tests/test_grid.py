import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.grid import PixelGrid, PixelWindow, tile_grid


@pytest.mark.parametrize(
    ("tile", "epsg", "left", "top"),
    [
        # Origins as published: Earth Search items of 33TWN, 32TMS and 13TDE, CDSE of 55WFR.
        ("33TWN", 32633, 499980, 5300040),
        ("32TMS", 32632, 399960, 5200020),
        ("13TDE", 32613, 399960, 4500000),
        ("55WFR", 32655, 600000, 7600020),
        # South of the equator, as in items of stactools-sentinel2 and odc-stac.
        ("01LAC", 32701, 99960, 8300020),
        ("07HFE", 32707, 600000, 6500020),
        ("01KAB", 32701, 99960, 8200000),
        ("34LBP", 32734, 199980, 8900020),
        ("60CWS", 32760, 499980, 1200040),
        ("01CCV", 32701, 300000, 2000020),
        ("22HBD", 32722, 199980, 5900020),
    ],
)
def test_a_tile_has_the_origin_that_esa_publishes(tile: str, epsg: int, left: int, top: int) -> None:
    assert tile_grid(tile) == PixelGrid(epsg, left, top, 10.0, 10980, 10980)


def test_tile_grids_cover_their_published_footprints(real_data: Path) -> None:
    tiles = gpd.read_parquet(real_data / "mgrs_europe" / "s2_mgrs_tiles_europe.parquet")
    agreement = [
        (footprint := tile_grid(name).footprint()).intersection(published).area / footprint.union(published).area
        for name, published in zip(tiles["Name"], tiles.geometry, strict=True)
    ]
    assert len(agreement) == 3263
    assert min(agreement) > 0.985  # the sides of published outlines are straight in degrees


def test_tile_grids_equal_those_of_real_items(real_data: Path) -> None:
    paths = sorted((real_data / "stac_items_e84_v1_europe").glob("*.json"))
    for path in paths:
        item = json.loads(path.read_text())
        left, top = item["assets"]["red"]["proj:transform"][2::3][:2]
        grid = tile_grid(item["properties"]["grid:code"].removeprefix("MGRS-"))
        assert (grid.epsg, grid.left_m, grid.top_m) == (item["properties"]["proj:epsg"], left, top)
    assert len(paths) == 16


@pytest.mark.parametrize("tile", ["32TAM", "32CQM"])
def test_letters_that_do_not_exist_in_a_zone_are_refused(tile: str) -> None:
    with pytest.raises(InvalidKeyError, match="does not exist"):
        tile_grid(tile)


def test_a_grid_keeps_its_extent_at_another_resolution() -> None:
    grid = tile_grid("32TQM")
    coarse = grid.at_resolution(20.0)
    assert coarse.shape == (5490, 5490)
    assert coarse.bounds == grid.bounds
    assert coarse.pixel_area_m2 == 400
    odd = PixelGrid(32632, 0, 0, 10.0, 797, 907).at_resolution(20.0)
    assert odd.shape == (454, 399)


def test_a_window_is_split_into_windows_that_fill_it_once() -> None:
    window = PixelWindow(slice(5, 30), slice(10, 47))
    seen = np.zeros((40, 50), int)
    for part in window.split(10, 16):
        seen[part.index] += 1
        assert seen[window.index][part.within(window).index].shape == part.shape
        assert (seen[window.index][part.within(window).index] == 1).all()
    assert (seen[window.index] == 1).all()
    assert seen.sum() == 25 * 37
