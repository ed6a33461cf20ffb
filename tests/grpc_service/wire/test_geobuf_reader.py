"""The Geobuf reader, against the products' encoder and other valid encodings."""

import sys
from typing import Any

import numpy as np
import pytest
import shapely

from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection, encode_product_feature
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_grpc.wire.descriptors import wire_class
from earthsignature_grpc.wire.geobuf_reader import read_frame
from tests.grpc_service.conftest import Facts

HOLED = shapely.Polygon([(10, 45), (11, 45), (11, 46), (10, 46)], [[(10.2, 45.2), (10.2, 45.4), (10.4, 45.4)]])
SPLIT = shapely.MultiPolygon([shapely.box(-3, -2, -1.5, -1), HOLED, shapely.box(20, 45, 20.000001, 45.000001)])


def test_the_products_polygons_come_back() -> None:
    shapes = [shapely.box(10, 45, 11, 46), HOLED, shapely.box(-3, -2, -1.5, -1), shapely.box(0, 0, 1, 1)]
    _, coordinates, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(shapes)
    layer = PolygonLayer(
        product_id="P",
        model="corine-unet-v1",
        codes=np.array([311, 312, 523, 311], np.uint16),
        areas_m2=np.array([100.0, 0.5, 1e12, 3.0]),
        mean_confidence=np.array([0.0, 25.5, 100.0, 75.1], np.float32),
        coordinates=coordinates,
        ring_offsets=ring_offsets.astype(np.int64),
        polygon_offsets=polygon_offsets.astype(np.int64),
    )
    frame = read_frame(encode_feature_collection(layer))
    assert frame.geometry.tolist() == shapes
    for column in ("code", "name", "level_1", "level_2", "area_m2"):
        assert frame[column].tolist() == layer.frame[column].tolist()
    assert frame["mean_confidence"].tolist() == [0.0, 25.5, 100.0, 75.1]
    assert frame.index.tolist() == ["0", "1", "2", "3"]
    assert frame.attrs == {"product_id": "P", "model": "corine-unet-v1"}
    assert frame.crs == "EPSG:4326"


def test_an_empty_collection_is_an_empty_frame() -> None:
    data: Any = wire_class("geobufproto.Data")(dimensions=2, precision=6)
    data.feature_collection.SetInParent()
    assert len(read_frame(data.SerializeToString())) == 0


def test_a_product_feature_comes_back_with_its_facts(facts: Facts) -> None:
    product = facts.products[facts.middle]
    frame = read_frame(encode_product_feature(product))
    assert frame.index.tolist() == [facts.middle]
    assert frame["product_id"].tolist() == [facts.middle]
    assert frame["categories"].tolist() == [[112, 211]]
    assert shapely.equals_exact(frame.geometry.iloc[0], product.footprint, 1e-6)


def test_defaults_heights_numbers_and_other_values_are_read() -> None:
    """Absent dimensions and precision are 2 and 6; a third dimension is dropped; ids may be numbers."""
    flat: Any = wire_class("geobufproto.Data")(keys=["below", "above", "flag"])
    feature = flat.feature
    feature.int_id = -7
    feature.geometry.type = 4
    feature.geometry.coords.extend([10_000_000, 45_000_000, 1_000_000, 0, 0, 1_000_000])
    feature.values.add(neg_int_value=3)
    feature.values.add(pos_int_value=3)
    feature.values.add(bool_value=False)
    feature.properties.extend([0, 0, 1, 1, 2, 2])
    frame = read_frame(flat.SerializeToString())
    assert frame.index.tolist() == ["-7"]
    assert frame[["below", "above", "flag"]].iloc[0].tolist() == [-3, 3, False]
    triangle = shapely.Polygon([(10, 45), (11, 45), (11, 46)])
    assert frame.geometry.iloc[0] == triangle
    flat.dimensions, flat.precision = 3, 0
    flat.feature.geometry.coords[:] = [10, 45, 9, 1, 0, 0, 0, 1, 0]
    assert read_frame(flat.SerializeToString()).geometry.iloc[0] == triangle


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        wire_class("geobufproto.Data")(keys=["a"]).SerializeToString(),
        wire_class("geobufproto.Data")(feature={"geometry": {"type": 0, "coords": [1, 2]}}).SerializeToString(),
        wire_class("geobufproto.Data")(geometry={"type": 4}).SerializeToString(),
        wire_class("geobufproto.Data")(
            feature={"geometry": {"type": 4, "coords": [1, 2]}, "properties": [0, 0]}
        ).SerializeToString(),
        wire_class("geobufproto.Data")(
            feature={"geometry": {"type": 5, "coords": [1, 2], "lengths": [9]}}
        ).SerializeToString(),
        wire_class("geobufproto.Data")(feature={"geometry": {"type": 4, "coords": [1, 2, 3]}}).SerializeToString(),
    ],
    ids=["nothing", "no message", "no data", "a point", "a bare geometry", "no such value", "lengths", "half a vertex"],
)
def test_geobuf_without_polygons_is_an_answer_error(content: bytes) -> None:
    with pytest.raises(ServiceAnswerError):
        read_frame(content)


def test_reading_is_linear_in_the_polygons() -> None:
    calls = {number: _calls_to_read(number) for number in (100, 400)}
    assert calls[400] < 4.1 * calls[100]


def _calls_to_read(polygons: int) -> int:
    """Count the Python and C calls for reading an answer with a number of polygons."""
    data: Any = wire_class("geobufproto.Data")(dimensions=2, precision=6)
    steps = np.array([[1, 0], [0, 1], [-1, 0]]).ravel().tolist()
    for number in range(polygons):
        feature = data.feature_collection.features.add(id=str(number))
        feature.geometry.type = 4
        feature.geometry.coords.extend([number * 10, number * 10, *steps])
    content = data.SerializeToString()
    read_frame(content)  # imports and caches of the first call do not count
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        frame = read_frame(content)
    finally:
        sys.setprofile(before)
    assert len(frame) == polygons
    return calls
