import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthsignature_assets.products.polygons.boundaries import (
    assemble_rings,
    ring_coordinates,
    signed_areas,
    trace_arcs,
)
from earthsignature_assets.products.polygons.regions import label_regions

rasters = arrays(
    np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 111, 211, 523])
)


def traced(codes: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.object_]]:
    regions = label_regions(codes)
    arcs = trace_arcs(regions.labels)
    rings = assemble_rings(arcs, len(regions.codes))
    vertices, ring_offsets = ring_coordinates(arcs.vertices, arcs.offsets, rings)
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, vertices.astype(float), (ring_offsets, rings.region_offsets)
    )
    return regions.codes, polygons


@given(rasters)
@settings(max_examples=300, deadline=None)
def test_polygons_are_exactly_the_regions(codes: npt.NDArray[np.uint16]) -> None:
    region_codes, polygons = traced(codes)
    expected = [
        (shapely.normalize(shapely.geometry.shape(shape)), int(code))
        for shape, code in rasterio.features.shapes(codes, mask=codes != 0, connectivity=4)
    ]
    found = [
        (shapely.normalize(shapely.remove_repeated_points(shapely.simplify(polygon, 0))), int(code))
        for polygon, code in zip(polygons, region_codes, strict=True)
    ]
    assert len(found) == len(expected)
    for polygon, code in found:
        assert any(code == other and polygon.equals(shape) for shape, other in expected)
    assert shapely.is_valid(polygons).all()


@given(rasters)
@settings(max_examples=300, deadline=None)
def test_polygons_are_a_valid_coverage_of_every_classified_pixel(codes: npt.NDArray[np.uint16]) -> None:
    region_codes, polygons = traced(codes)
    assert shapely.coverage_is_valid(polygons)
    assert 0 not in region_codes
    for code in np.unique(codes[codes != 0]):
        assert shapely.area(polygons[region_codes == code]).sum() == (codes == code).sum()
    if len(polygons):
        shapely_pixels = rasterio.features.rasterize(
            zip(polygons, region_codes.tolist(), strict=True), codes.shape, fill=0, dtype=np.uint16
        )
        assert np.array_equal(shapely_pixels, codes)


def test_a_hole_that_opens_only_at_a_corner_stays_a_hole() -> None:
    codes = np.full((5, 5), 311, np.uint16)
    codes[0, 0] = codes[1, 1] = 512  # the second touches the first at one corner only
    _, polygons = traced(codes)
    forest = polygons[shapely.area(polygons).argmax()]
    assert shapely.is_valid(forest)
    assert len(forest.interiors) == 1
    assert forest.area == 23
    assert len(polygons) == 3


def test_a_straight_border_keeps_the_vertex_where_its_neighbours_meet() -> None:
    codes = np.array([[111, 111], [211, 311]], np.uint16)
    _, polygons = traced(codes)
    assert (1.0, 1.0) in set(polygons[0].exterior.coords)
    assert len(polygons[0].exterior.coords) == 6


def test_rings_within_rings() -> None:
    codes = np.full((7, 7), 111, np.uint16)
    codes[1:6, 1:6] = 211
    codes[2:5, 2:5] = 0
    codes[3, 3] = 211
    region_codes, polygons = traced(codes)
    assert region_codes.tolist() == [111, 211, 211]
    assert [len(polygon.interiors) for polygon in polygons] == [1, 1, 0]
    assert shapely.area(polygons).tolist() == [24, 16, 1]


def test_outer_rings_turn_counter_clockwise_where_row_0_is_north() -> None:
    _, polygons = traced(np.array([[111, 111, 111], [111, 211, 111], [111, 111, 111]], np.uint16))
    flipped = shapely.transform(polygons[0], lambda xy: xy * (1, -1))
    assert flipped.exterior.is_ccw
    assert not flipped.interiors[0].is_ccw


def test_no_data_alone_has_no_region() -> None:
    region_codes, polygons = traced(np.zeros((4, 4), np.uint16))
    assert len(region_codes) == len(polygons) == 0


@given(rasters)
@settings(max_examples=200, deadline=None)
def test_every_boundary_exists_once(codes: npt.NDArray[np.uint16]) -> None:
    regions = label_regions(codes)
    arcs = trace_arcs(regions.labels)
    sides = np.diff(arcs.vertices.astype(int), axis=0)
    along = np.ones(len(sides), bool)
    along[arcs.offsets[1:-1] - 1] = False  # from one arc's end to the next one's start
    assert ((sides[along] == 0).sum(axis=1) == 1).all()
    labels = regions.labels
    different = (labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum()
    assert abs(sides[along]).sum() == different
    assert (arcs.sides[:, 0] != arcs.sides[:, 1]).all()
    assert signed_areas(arcs.vertices, arcs.offsets, arcs.sides, len(regions.codes)).tolist() == regions.pixels.tolist()
