import cv2
import numpy as np
import numpy.typing as npt
import pytest
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
from earthsignature_assets.products.polygons.regions import label_regions, sieve_regions
from earthsignature_assets.products.polygons.simplification import simplify_arcs

noise = arrays(np.uint16, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 111, 211]))


def fields(seed: int, side: int, smoothness: float, min_pixels: int = 1) -> npt.NDArray[np.uint16]:
    random = np.random.default_rng(seed)
    values = [
        cv2.GaussianBlur(random.standard_normal((side, side)).astype(np.float32), (0, 0), smoothness) for _ in range(5)
    ]
    codes = np.array([0, 111, 211, 311, 523], np.uint16)[np.argmax(values, axis=0)]
    return sieve_regions(label_regions(codes), min_pixels).raster()


def simplified(
    codes: npt.NDArray[np.uint16], tolerance: float, exact: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Return the polygons before and after."""
    regions = label_regions(codes)
    arcs = trace_arcs(regions.labels)
    rings = assemble_rings(arcs, len(regions.codes))
    pair = []
    for vertices, offsets in ((arcs.vertices, arcs.offsets), simplify_arcs(arcs, codes.shape, tolerance, exact)):
        coordinates, ring_offsets = ring_coordinates(vertices, offsets, rings)
        polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, coordinates.astype(float), (ring_offsets, rings.region_offsets)
        )
        areas = signed_areas(vertices, offsets, arcs.sides, len(regions.codes))
        assert shapely.area(polygons) == pytest.approx(areas)
        pair.append(polygons)
    return pair[0], pair[1]


def assert_coverage(polygons: npt.NDArray[np.object_]) -> None:
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    # Shared borders alone do not exclude that one polygon lies inside another.
    assert shapely.area(polygons).sum() == pytest.approx(shapely.area(shapely.coverage_union_all(polygons)))


@given(noise, st.sampled_from([0.5, 1.0, 1.5, 3.0, 10.0]))
@settings(max_examples=400, deadline=None)
def test_any_noise_at_any_tolerance_stays_a_valid_coverage(codes: npt.NDArray[np.uint16], tolerance: float) -> None:
    before, after = simplified(codes, tolerance)
    assert_coverage(after)
    assert (shapely.area(after) > 0).all()
    assert (shapely.get_num_interior_rings(after) == shapely.get_num_interior_rings(before)).all()
    assert shapely.get_num_coordinates(after).sum() <= shapely.get_num_coordinates(before).sum()


@given(st.integers(0, 10_000), st.sampled_from([1.0, 2.5, 6.0]), st.sampled_from([1.5, 4.0]))
@settings(max_examples=25, deadline=None)
def test_fields_stay_a_valid_coverage(seed: int, tolerance: float, smoothness: float) -> None:
    _, after = simplified(fields(seed, 90, smoothness), tolerance)
    assert_coverage(after)


@given(st.integers(0, 10_000), st.data())
@settings(max_examples=20, deadline=None)
def test_exact_arcs_stay_among_simplified_ones(seed: int, data: st.DataObject) -> None:
    codes = fields(seed, 60, 2.0)
    arcs = trace_arcs(label_regions(codes).labels)
    exact = np.random.default_rng(data.draw(st.integers(0, 100))).random(len(arcs.sides)) < 0.3
    vertices, offsets = simplify_arcs(arcs, codes.shape, 3.0, exact)
    for arc in np.flatnonzero(exact):
        here = vertices[offsets[arc] : offsets[arc + 1]]
        assert np.array_equal(here, arcs.vertices[arcs.offsets[arc] : arcs.offsets[arc + 1]])
    assert_coverage(simplified(codes, 3.0, exact)[1])


def test_ends_of_arcs_never_move() -> None:
    codes = fields(1, 80, 2.0)
    arcs = trace_arcs(label_regions(codes).labels)
    vertices, offsets = simplify_arcs(arcs, codes.shape, 5.0)
    assert np.array_equal(vertices[offsets[:-1]], arcs.vertices[arcs.offsets[:-1]])
    assert np.array_equal(vertices[offsets[1:] - 1], arcs.vertices[arcs.offsets[1:] - 1])


def test_it_simplifies_as_much_as_geos_does_and_as_close() -> None:
    codes = fields(7, 400, 4.0, 25)
    before, after = simplified(codes, 1.0)
    geos = shapely.coverage_simplify(before, 1.0)
    assert shapely.get_num_coordinates(after).sum() == pytest.approx(shapely.get_num_coordinates(geos).sum(), rel=0.05)
    wandered = [shapely.area(shapely.symmetric_difference(before, other)).sum() for other in (after, geos)]
    assert wandered[0] < 1.05 * wandered[1]


def test_stairs_become_a_slope() -> None:
    codes = np.where(np.tri(60, 60, dtype=bool), 111, 211).astype(np.uint16)
    before, after = simplified(codes, 1.0)
    assert shapely.get_num_coordinates(before).tolist()[0] > 100
    assert shapely.get_num_coordinates(after).max() < 45


def test_a_small_lake_never_vanishes() -> None:
    codes = np.full((9, 9), 111, np.uint16)
    codes[4, 4] = 512
    _, after = simplified(codes, 50.0)
    assert shapely.area(after).min() > 0
    assert_coverage(after)


def test_two_borders_between_the_same_nodes_stay_apart() -> None:
    """A lens between two regions, both of whose borders could become the same straight line."""
    codes = np.full((12, 12), 111, np.uint16)
    codes[6:] = 211
    codes[5:7, 4:8] = 512
    _, after = simplified(codes, 20.0)
    assert_coverage(after)
    assert (shapely.area(after) > 0).all()
