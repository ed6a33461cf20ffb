"""GEOS gets only a few polygons, and the result equals the one for all of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthsignature_assets.products.polygons.boundaries import assemble_rings, ring_coordinates, trace_arcs
from earthsignature_assets.products.polygons.coverage import invalid_polygons
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.polygons.regions import label_regions

rasters = arrays(
    np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 111, 211, 523])
)


def traced(codes: npt.NDArray[np.uint16]) -> list[shapely.Polygon]:
    regions = label_regions(codes)
    arcs = trace_arcs(regions.labels)
    rings = assemble_rings(arcs, len(regions.codes))
    vertices, ring_offsets = ring_coordinates(arcs.vertices, arcs.offsets, rings)
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, vertices * (1.0, -1.0), (ring_offsets, rings.region_offsets)
    )
    return list(polygons)


def layer_of(polygons: Sequence[shapely.Polygon]) -> PolygonLayer:
    """Make a layer of the polygons, and keep the orientation of their rings."""
    count = len(polygons)
    if count:
        _, coordinates, (rings, offsets) = shapely.to_ragged_array(np.array(polygons, object))
    else:
        coordinates, rings, offsets = np.empty((0, 2)), np.zeros(1, np.int64), np.zeros(1, np.int64)
    return PolygonLayer(
        product_id="",
        model="",
        codes=np.full(count, 111, np.uint16),
        areas_m2=np.ones(count),
        mean_confidence=np.ones(count, np.float32),
        coordinates=coordinates,
        ring_offsets=rings.astype(np.int64),
        polygon_offsets=offsets.astype(np.int64),
    )


def assert_as_geos(polygons: Sequence[shapely.Polygon]) -> None:
    found = invalid_polygons(layer_of(polygons))
    every = np.flatnonzero(~shapely.is_empty(shapely.coverage_invalid_edges(np.array(polygons, object))))
    assert (len(found) == 0) == (len(every) == 0) == shapely.coverage_is_valid(np.array(polygons, object))
    assert set(found.tolist()) <= set(range(len(polygons)))


@given(rasters)
@settings(max_examples=200, deadline=None)
def test_traced_polygons_are_a_coverage(codes: npt.NDArray[np.uint16]) -> None:
    assert len(invalid_polygons(layer_of(traced(codes)))) == 0


@given(rasters, st.data())
@settings(max_examples=400, deadline=None)
def test_a_moved_vertex_is_found(codes: npt.NDArray[np.uint16], data: st.DataObject) -> None:
    polygons = traced(codes)
    if not polygons:
        return
    index = data.draw(st.integers(0, len(polygons) - 1))
    moved = shapely.get_coordinates(polygons[index].exterior)
    at = data.draw(st.integers(1, len(moved) - 2))
    moved[at] += data.draw(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)))
    polygon = shapely.Polygon(moved, list(polygons[index].interiors))
    if polygon.is_valid:
        polygons[index] = polygon
        assert_as_geos(polygons)


@given(rasters, rasters, st.data())
@settings(max_examples=400, deadline=None)
def test_added_removed_or_missing_polygons_are_found_as_by_geos(
    codes: npt.NDArray[np.uint16], others: npt.NDArray[np.uint16], data: st.DataObject
) -> None:
    """Parts of a second, shifted coverage on top of parts of the first, some with reversed rings."""
    upper, lower = traced(codes), traced(others)
    shift = data.draw(st.sampled_from([(0, 0), (1, 0), (-3, 2), (0.5, 0.5), (20, 0)]))
    upper = [shapely.transform(polygon, lambda xy: xy + shift) for polygon in upper]
    polygons = [polygon for polygon in (*lower, *upper) if data.draw(st.booleans())]
    backwards = [polygon.reverse() if data.draw(st.booleans()) else polygon for polygon in polygons]
    assert_as_geos(polygons)
    assert_as_geos(backwards)


def boxes(columns: range, rows: range, size: float) -> list[shapely.Polygon]:
    return [
        shapely.box(column * size, row * size, (column + 1) * size, (row + 1) * size)
        for column in columns
        for row in rows
    ]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of polygons that GEOS gets at each call."""
    counts: list[int] = []
    geos = shapely.coverage_invalid_edges

    def counted(polygons: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        counts.append(len(polygons))
        edges: npt.NDArray[np.object_] = geos(polygons)
        return edges

    monkeypatch.setattr(shapely, "coverage_invalid_edges", counted)
    return counts


def test_geos_gets_only_polygons_near_the_border(seen: list[int]) -> None:
    assert len(invalid_polygons(layer_of(boxes(range(40), range(40), 1.0)))) == 0
    assert seen == [4 * 39]


@pytest.mark.parametrize("extra", ["twice", "mirrored", "inside", "blocks", "hanging vertex"])
def test_faults_deep_inside_a_coverage_are_found(extra: str, seen: list[int]) -> None:
    polygons = boxes(range(40), range(40), 1.0)
    polygons += {
        "twice": [polygons[820]],
        "mirrored": [polygons[820].reverse()],
        "inside": [shapely.box(20.2, 20.2, 20.4, 20.4)],
        "blocks": boxes(range(7, 11), range(7, 11), 2.0),
        "hanging vertex": [],
    }[extra]
    if extra == "hanging vertex":
        polygons[820] = shapely.segmentize(polygons[820], 0.6)
    found = invalid_polygons(layer_of(polygons))
    assert len(found)
    assert seen[0] < 400
    assert_as_geos(polygons)
