from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Transformer

from earthsignature_assets.errors import ProductError, UnknownClassError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.polygons.generalisation import (
    Generalisation,
    LandCoverPolygons,
    land_cover_polygons,
    sieve,
)

MODEL = ModelVersion("corine-unet", 1)
NAME = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"


def small_grid(height: int, width: int) -> PixelGrid:
    whole = tile_grid("32TQM")
    return PixelGrid(whole.epsg, whole.left_m, whole.top_m, 10.0, width, height)


def vectorised(codes: np.ndarray, confidence: int = 80, min_area_m2: float = 2500.0) -> LandCoverPolygons:
    grid = small_grid(*codes.shape)
    return land_cover_polygons(
        codes, np.full(codes.shape, confidence, np.uint8), grid, NAME, MODEL, Generalisation(min_area_m2)
    )


def in_metres(polygons: LandCoverPolygons) -> np.ndarray:
    shapes: np.ndarray = polygons.layer.frame.geometry.to_crs(32632).to_numpy()
    return shapes


@pytest.fixture(scope="module")
def polygons(swath_codes: Callable[..., np.ndarray]) -> LandCoverPolygons:
    return vectorised(swath_codes(220, 300))


def test_they_are_a_valid_coverage_in_degrees(polygons: LandCoverPolygons) -> None:
    shapes = polygons.layer.frame.geometry.to_numpy()
    assert len(shapes) > 50
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert polygons.layer.frame.crs == "EPSG:4326"


def test_simplification_removes_most_vertices(polygons: LandCoverPolygons) -> None:
    pixel_sides = shapely.length(in_metres(polygons)).sum() / 10
    assert shapely.get_num_coordinates(polygons.layer.frame.geometry.to_numpy()).sum() < 0.5 * pixel_sides


def test_the_area_of_each_class_is_that_of_the_sieved_raster(
    polygons: LandCoverPolygons, swath_codes: Callable[..., np.ndarray]
) -> None:
    codes = swath_codes(220, 300)
    sieved = sieve(codes, small_grid(220, 300), 2500.0)
    by_class = polygons.layer.frame.groupby("code")["area_m2"].sum()
    drawn = gpd.GeoSeries(in_metres(polygons)).area.groupby(polygons.layer.frame["code"]).sum()
    assert set(by_class.index) == set(np.unique(sieved)) - {0}
    for code, area_m2 in by_class.items():
        assert area_m2 == (sieved == code).sum() * 100
        assert drawn[code] == pytest.approx(area_m2, rel=0.01)
        told = polygons.class_areas[code]
        assert (told.raster_m2, told.sieved_m2) == ((codes == code).sum() * 100, area_m2)
        assert told.drawn_m2 == pytest.approx(drawn[code], rel=1e-4)


def test_no_data_makes_no_polygon(polygons: LandCoverPolygons) -> None:
    grid = small_grid(220, 300)
    west_of_swath = Transformer.from_crs(32632, 4326, always_xy=True).transform(grid.left_m + 50, grid.top_m - 2000)
    assert not shapely.intersects_xy(polygons.layer.frame.geometry.to_numpy(), *west_of_swath).any()


def test_columns(polygons: LandCoverPolygons) -> None:
    row = polygons.layer.frame[polygons.layer.frame["code"] == 312].iloc[0]
    assert (row["name"], row["level_1"], row["level_2"]) == ("Coniferous forest", 3, 31)
    assert (row["product_id"], row["model"], row["mean_confidence"]) == (NAME, "corine-unet-v1", 80)


def test_polygons_match_the_position_of_their_pixels(part_of_tile: Callable[..., PixelGrid]) -> None:
    codes = np.full((60, 60), 311, np.uint16)
    codes[20:40, 30:50] = 512
    lake = vectorised(codes).layer.frame.set_index("code").loc[[512]].to_crs(32632).geometry.iloc[0]
    grid = part_of_tile(60, 60)
    expected = shapely.box(grid.left_m + 300, grid.top_m - 400, grid.left_m + 500, grid.top_m - 200)
    assert shapely.hausdorff_distance(lake, expected) <= 10
    assert lake.intersection(expected).area > 0.98 * expected.area


def test_a_small_class_that_simplification_would_change_keeps_its_borders() -> None:
    codes = np.full((120, 120), 311, np.uint16)
    codes[60:65, 60:65] = 512  # without one of its corners it would be half as large
    grid, confidence = small_grid(120, 120), np.full(codes.shape, 80, np.uint8)
    polygons = land_cover_polygons(codes, confidence, grid, NAME, MODEL, Generalisation(tolerance_m=40))
    lake = polygons.layer.frame[polygons.layer.frame["code"] == 512].to_crs(32632)
    assert polygons.exact_codes == {512}
    assert polygons.facts()["exact_codes"] == [512]
    assert lake.area.sum() == pytest.approx(2500, rel=1e-4)
    assert shapely.coverage_is_valid(polygons.layer.geometries())


def test_regions_below_the_unit_are_merged_into_their_neighbour() -> None:
    codes = np.full((40, 40), 311, np.uint16)
    codes[5:9, 5:11] = 512  # 24 pixels
    codes[20:25, 20:25] = 523  # 25 pixels
    polygons = vectorised(codes)
    assert sorted(polygons.layer.codes) == [311, 523]
    assert polygons.class_areas[512].sieve_change == -1
    assert polygons.facts()["classes"]["512"] == {"raster_m2": 2400.0, "sieved_m2": 0.0, "drawn_m2": 0.0}
    assert sorted(vectorised(codes, min_area_m2=0).layer.codes) == [311, 512, 523]


@given(arrays(np.uint16, (30, 30), elements=st.sampled_from([0, 0, 111, 211, 523])))
@settings(max_examples=50, deadline=None)
def test_the_sieve_never_moves_no_data(codes: np.ndarray) -> None:
    sieved = sieve(codes, small_grid(30, 30), 2500.0)
    assert np.array_equal(sieved == 0, codes == 0)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_any_noise_gives_a_valid_coverage(seed: int) -> None:
    codes = np.random.default_rng(seed).choice(np.array([0, 111, 211, 311, 523], np.uint16), size=(40, 40))
    polygons = vectorised(codes, min_area_m2=0)
    shapes = polygons.layer.frame.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)


def test_a_long_straight_border_follows_the_projection() -> None:
    codes = np.full((12, 10980), 311, np.uint16)
    codes[6:] = 523
    polygons = vectorised(codes)
    assert shapely.coverage_is_valid(polygons.layer.frame.geometry.to_numpy())
    densified = shapely.segmentize(polygons.layer.frame.geometry.to_numpy(), 0.0005)
    back = gpd.GeoSeries(densified, crs=4326).to_crs(32632)
    grid = small_grid(12, 10980)
    northings = shapely.get_coordinates(back.to_numpy())[:, 1]
    lines = np.array([grid.top_m, grid.top_m - 60, grid.top_m - 120])
    inner = abs(northings[:, None] - lines).min(axis=1)
    easting = shapely.get_coordinates(back.to_numpy())[:, 0]
    along = (easting > grid.left_m + 1) & (easting < grid.left_m + 109_799)
    assert inner[along].max() < 0.1


def test_a_raster_of_no_data_yields_no_polygons() -> None:
    polygons = vectorised(np.zeros((30, 30), np.uint16))
    assert polygons.layer.frame.empty
    assert polygons.layer.frame.crs == "EPSG:4326"


@pytest.mark.parametrize("code", [1, 110, 65535])
def test_codes_outside_the_nomenclature_are_refused(code: int) -> None:
    codes = np.full((30, 30), 311, np.uint16)
    codes[3, 4] = code
    with pytest.raises(UnknownClassError, match=str(code)):
        vectorised(codes)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_invalid_generalisations_are_refused(value: float) -> None:
    with pytest.raises(ProductError, match="min_area_m2"):
        Generalisation(min_area_m2=value)
    with pytest.raises(ProductError, match="tolerance_m"):
        Generalisation(tolerance_m=value)


def test_a_tolerance_of_zero_keeps_every_corner(swath_codes: Callable[..., np.ndarray]) -> None:
    codes = swath_codes(100, 120)
    polygons = land_cover_polygons(
        codes, np.full(codes.shape, 50, np.uint8), small_grid(100, 120), NAME, MODEL, Generalisation(0, 0)
    )
    for code, area in polygons.class_areas.items():
        assert area.drawn_m2 == area.sieved_m2 == area.raster_m2 == (codes == code).sum() * 100


def test_one_class_everywhere_is_one_polygon() -> None:
    layer = vectorised(np.full((50, 60), 523, np.uint16)).layer
    assert len(layer) == 1
    assert layer.areas_m2.tolist() == [300_000.0]
    assert shapely.is_valid(layer.geometries()).all()


def test_checkerboards_are_valid_coverages() -> None:
    codes = np.where(np.indices((20, 20)).sum(axis=0) % 2, 311, 512).astype(np.uint16)
    layer = vectorised(codes, min_area_m2=0).layer
    assert len(layer) == 400
    assert shapely.coverage_is_valid(layer.geometries())
    # The sieve can only merge them into larger regions.
    assert vectorised(codes).layer.areas_m2.min() >= 2500


def test_rasters_of_another_shape_are_refused() -> None:
    with pytest.raises(ProductError, match=r"confidence \(30, 31\)"):
        land_cover_polygons(
            np.zeros((30, 30), np.uint16), np.zeros((30, 31), np.uint8), small_grid(30, 30), NAME, MODEL
        )
