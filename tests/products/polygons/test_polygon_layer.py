import numpy as np
import pytest
import shapely

from earthsignature_assets.products.polygons import polygon_layer
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer, shapely_polygons


def boxes(count: int) -> np.ndarray:
    """Make boxes in a row, every third with a hole."""
    outer = [shapely.box(left, 0, left + 0.9, 1) for left in range(count)]
    holes = [shapely.box(left + 0.2, 0.2, left + 0.6, 0.6) for left in range(count)]
    pairs = zip(outer, holes, strict=True)
    return np.array([shape if left % 3 else shape.difference(hole) for left, (shape, hole) in enumerate(pairs)])


def layer_of(polygons: np.ndarray) -> PolygonLayer:
    count = len(polygons)
    codes = np.array([111, 312, 512], np.uint16)[np.arange(count) % 3]
    return PolygonLayer.of_polygons("product", "model-v1", polygons, codes, np.full(count, 100.0), np.ones(count, "f4"))


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_chunks_yield_the_same_polygons_as_the_whole(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(polygon_layer, "_AT_ONCE", 3)
    polygons = boxes(count)
    layer = layer_of(polygons)
    assert shapely.equals_exact(layer.geometries(), polygons).all()
    assert shapely.equals_exact(layer.geometries(1, 4), polygons[1:4]).all()


def test_a_layer_may_be_empty() -> None:
    empty = layer_of(boxes(1)).chosen(np.zeros(1, bool))
    assert empty.geometries().shape == (0,)
    assert empty.class_areas() == {}


def test_whole_numbers_become_degrees() -> None:
    corners = np.array([[0, 0], [2, 0], [2, 2], [0, 0]], np.int32)
    [triangle] = shapely_polygons(corners, np.array([0, 4]), np.array([0, 1]))
    assert triangle.equals(shapely.Polygon([(0, 0), (2, 0), (2, 2)]))


def test_areas_are_summed_by_class() -> None:
    assert layer_of(boxes(4)).class_areas() == {111: 200.0, 312: 100.0, 512: 100.0}
