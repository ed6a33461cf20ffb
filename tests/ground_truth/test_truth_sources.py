from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely import LineString, Point, Polygon

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.label_scheme import LabelScheme, Statement, label_scheme
from earthsignature_assets.ground_truth.truth_sources import ClassRaster, Points, Polygons

SCHEME = LabelScheme(
    "words", {"wood": Statement(313, 2), "field": Statement(211, 2), "cloud": None}, {"cloud": "hides the ground"}
)


def polygons(path: Path, scheme: LabelScheme = SCHEME, **options: Any) -> Polygons:
    return Polygons(path, path.name, "class", scheme, **options)


def counts_of(remarks: list[Any]) -> dict[str, int]:
    return {remark.reason: remark.count for remark in remarks}


@pytest.mark.parametrize(
    ("name", "crs"), [("truth.gpkg", 32633), ("truth.shp", 3035), ("truth.geojson", 4326), ("truth.fgb", 3857)]
)
def test_polygons_of_any_format_and_crs_land_on_the_same_pixels(small_scene: Any, name: str, crs: int) -> None:
    shapes = [(small_scene.area(4, 10, 40, 50), "wood"), (small_scene.area(70, 20, 120, 100), "field")]
    truth, remarks = polygons(small_scene.write_polygons(name, shapes, crs)).on(small_scene.image.grid)
    assert remarks == []
    expected = np.zeros((128, 160), int)
    expected[10:50, 4:40], expected[20:100, 70:120] = 313, 211
    # Straight sides of another CRS bend by less than a pixel here.
    assert np.count_nonzero(truth.codes != expected) <= (0 if crs == 32633 else 40)


def test_polygons_without_a_crs_are_refused_until_it_is_given(small_scene: Any) -> None:
    path = small_scene.write_polygons("truth.shp", [(small_scene.area(4, 10, 40, 50), "wood")])
    path.with_suffix(".prj").unlink()
    with pytest.raises(GroundTruthError, match=r"truth\.shp has no CRS: set crs"):
        polygons(path).on(small_scene.image.grid)
    truth, _ = polygons(path, crs="EPSG:32633").on(small_scene.image.grid)
    assert np.count_nonzero(truth.codes) == 36 * 40


def test_invalid_polygons_are_repaired_with_a_remark(small_scene: Any) -> None:
    corners = small_scene.area(10, 10, 30, 30).exterior.coords
    bow_tie = Polygon([corners[0], corners[2], corners[1], corners[3]])
    flat = Polygon([corners[0], corners[1], corners[0]])
    path = small_scene.write_polygons("truth.gpkg", [(bow_tie, "wood"), (flat, "wood")])
    truth, remarks = polygons(path).on(small_scene.image.grid)
    assert counts_of(remarks) == {"invalid, repaired and used": 1, "invalid and without area after the repair": 1}
    assert 150 < np.count_nonzero(truth.codes) < 250


def test_labels_without_a_class_are_named_with_their_reason(small_scene: Any) -> None:
    shapes = [
        (small_scene.area(4, 10, 8, 14), "wood"),
        (small_scene.area(20, 10, 30, 20), "road"),
        (small_scene.area(40, 10, 50, 20), "road"),
        (small_scene.area(60, 10, 70, 20), "cloud"),
    ]
    truth, remarks = polygons(small_scene.write_polygons("truth.gpkg", shapes)).on(small_scene.image.grid)
    assert np.count_nonzero(truth.codes) == 16
    assert counts_of(remarks) == {
        "label road is not in the scheme words": 2,
        "label cloud names no CORINE class (hides the ground)": 1,
    }


def test_codes_outside_the_scheme_are_named(small_scene: Any) -> None:
    shapes = [(small_scene.area(4, 10, 8, 14), 312), (small_scene.area(20, 10, 30, 20), 999)]
    path = small_scene.write_polygons("clc.gpkg", shapes)
    truth, remarks = polygons(path, label_scheme("corine")).on(small_scene.image.grid)
    assert truth.counts() == {Statement(312): 16}
    assert counts_of(remarks) == {"label 999 is not in the scheme corine": 1}


def test_contradicting_overlaps_are_void_and_counted(small_scene: Any) -> None:
    shapes = [(small_scene.area(4, 10, 24, 30), "wood"), (small_scene.area(14, 10, 34, 30), "field")]
    truth, remarks = polygons(small_scene.write_polygons("truth.gpkg", shapes)).on(small_scene.image.grid)
    assert counts_of(remarks) == {"polygons with contradicting labels overlap": 200}
    assert truth.counts() == {Statement(313, 2): 200, Statement(211, 2): 200}


def test_labels_outside_the_image_are_counted(small_scene: Any) -> None:
    shapes = [
        (small_scene.area(4, 10, 8, 14), "wood"),
        (small_scene.area(500, 10, 600, 20), "wood"),
        (small_scene.area(5000, 10, 6000, 20), "field"),
    ]
    truth, remarks = polygons(small_scene.write_polygons("truth.gpkg", shapes, 4326)).on(small_scene.image.grid)
    assert np.count_nonzero(truth.codes) == 16
    assert counts_of(remarks) == {"outside the image": 2}


def test_lines_are_not_polygons(small_scene: Any) -> None:
    area = small_scene.area(4, 10, 8, 14)
    line = LineString(area.exterior.coords[:2])
    _, remarks = polygons(small_scene.write_polygons("truth.geojson", [(area, "wood"), (line, "wood")], 4326)).on(
        small_scene.image.grid
    )
    assert counts_of(remarks) == {"not a polygon": 1}


def test_a_missing_field_names_the_existing_ones(small_scene: Any) -> None:
    path = small_scene.write_polygons("truth.gpkg", [(small_scene.area(4, 10, 8, 14), "wood")], column="code_18")
    with pytest.raises(GroundTruthError, match="no field 'class': it has code_18"):
        polygons(path).on(small_scene.image.grid)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, small_scene: Any) -> None:
    (tmp_path / "truth.gpkg").write_text("nonsense")
    grid = small_scene.image.grid
    for source in (polygons(tmp_path / "truth.gpkg"), polygons(tmp_path / "none.shp")):
        with pytest.raises(GroundTruthError, match="cannot be read"):
            source.on(grid)
    with pytest.raises(GroundTruthError, match="cannot be read"):
        ClassRaster(tmp_path / "none.tif", "none", SCHEME).on(grid)


def test_points_label_their_pixel(small_scene: Any) -> None:
    spots = [
        small_scene.area(column, row, column + 1, row + 1).centroid for row, column in ((20, 5), (20, 6), (30, 90))
    ]
    shapes = [(spots[0], "wood"), (spots[1], "wood"), (spots[2], "field"), (Point(0, 0), "field"), (spots[2], "road")]
    path = small_scene.write_polygons("points.gpkg", shapes, 4326)
    truth, remarks = Points(path, "points", "class", SCHEME).on(small_scene.image.grid)
    assert list(zip(*np.nonzero(truth.codes), strict=True)) == [(20, 5), (20, 6), (30, 90)]
    assert truth.codes[30, 90] == 211
    assert counts_of(remarks) == {"outside the image": 1, "label road is not in the scheme words": 1}


def test_points_that_contradict_each_other_make_their_pixel_void(small_scene: Any) -> None:
    spot = small_scene.area(5, 20, 6, 21).centroid
    path = small_scene.write_polygons("points.gpkg", [(spot, "wood"), (spot, "field"), (spot, "wood")])
    truth, remarks = Points(path, "points", "class", SCHEME).on(small_scene.image.grid)
    assert not truth.codes.any()
    assert counts_of(remarks) == {"points with contradicting labels share a pixel": 1}


def test_points_of_a_table_as_lucas_publishes_them(small_scene: Any) -> None:
    import geopandas

    spots = [small_scene.area(column, 20, column + 1, 21).centroid for column in (5, 90)]
    places = geopandas.GeoSeries(spots, crs=32633).to_crs(4326)
    path = small_scene.folder / "lucas.csv"
    rows = [f"{place.x},{place.y},{label}" for place, label in zip(places, ("C10", "B11"), strict=True)]
    path.write_text("th_long,th_lat,lc1\n" + "\n".join([*rows, "east,north,B11"]) + "\n")
    lucas = Points(path, "lucas", "lc1", label_scheme("lucas"), x_column="th_long", y_column="th_lat")
    truth, remarks = lucas.on(small_scene.image.grid)
    assert truth.counts() == {Statement(211, 2): 1, Statement(311): 1}
    assert counts_of(remarks) == {"without geometry": 1}
    with pytest.raises(GroundTruthError, match="no column 'lon'"):
        Points(path, "lucas", "lc1", SCHEME, x_column="lon", y_column="th_lat").on(small_scene.image.grid)


def test_rasters_of_another_grid_are_resampled(small_scene: Any) -> None:
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    grid = small_scene.image.grid
    values = np.choose(small_scene.kinds, [10, 40, 80]).astype(np.uint8)
    affine, width, height = calculate_default_transform(32633, 4326, 160, 128, *grid.bounds)
    turned = np.zeros((height, width), np.uint8)
    reproject(
        values,
        turned,
        src_transform=grid.transform,
        src_crs=32633,
        dst_transform=affine,
        dst_crs=4326,
        resampling=Resampling.nearest,
    )
    path = small_scene.write_raster("cover.tif", turned, crs=4326, transform=affine, nodata=0)
    truth, remarks = ClassRaster(path, "cover", label_scheme("worldcover")).on(grid)
    assert remarks == []
    expected = np.choose(small_scene.kinds, [313, 211, 512])
    assert (truth.codes == expected).mean() > 0.95
    assert set(np.unique(truth.levels)) <= {0, 1, 2}


def test_pixels_outside_a_raster_are_void(small_scene: Any) -> None:
    path = small_scene.write_raster("part.tif", np.zeros((30, 40), np.uint8))
    truth, _ = ClassRaster(path, "part", label_scheme("dynamic_world")).on(small_scene.image.grid)
    assert np.count_nonzero(truth.codes) == 30 * 40, "value 0 is water there, and no data elsewhere"


def test_raster_values_outside_the_scheme_are_counted(small_scene: Any) -> None:
    values = np.full((128, 160), 10, np.uint8)
    values[:10] = 77
    values[10:12] = 95
    path = small_scene.write_raster("cover.tif", values)
    _, remarks = ClassRaster(path, "cover", label_scheme("worldcover")).on(small_scene.image.grid)
    assert counts_of(remarks) == {
        "label 77 is not in the scheme worldcover": 1600,
        "label 95 names no CORINE class (mangroves: no CORINE class in Europe)": 320,
    }


def test_rasters_without_classes_are_refused(small_scene: Any) -> None:
    grid = small_scene.image.grid
    path = small_scene.write_raster("real.tif", np.zeros((128, 160), np.float32))
    with pytest.raises(GroundTruthError, match="does not hold integers"):
        ClassRaster(path, "real", SCHEME).on(grid)
    with pytest.raises(GroundTruthError, match="no band 2"):
        ClassRaster(path, "real", SCHEME, band=2).on(grid)
    path = small_scene.write_raster("nowhere.tif", np.zeros((128, 160), np.uint8), crs=None)
    with pytest.raises(GroundTruthError, match="has no CRS"):
        ClassRaster(path, "nowhere", SCHEME).on(grid)
