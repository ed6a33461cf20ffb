import datetime as dt
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc_tools
import numpy as np
import pytest
import shapely
from grpc_tools import protoc
from hypothesis import given, settings
from hypothesis import strategies as st

from earthsignature_assets.errors import ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.polygons.generalisation import land_cover_polygons
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection, encode_product_feature
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.product import Product

GEOBUF_PROTO = """
syntax = "proto2";
package geobuftest;
message Data {
  repeated string keys = 1;
  optional uint32 dimensions = 2 [default = 2];
  optional uint32 precision = 3 [default = 6];
  oneof data_type { FeatureCollection feature_collection = 4; Feature feature = 5; Geometry geometry = 6; }
  message Feature {
    required Geometry geometry = 1;
    oneof id_type { string id = 11; sint64 int_id = 12; }
    repeated Value values = 13;
    repeated uint32 properties = 14 [packed = true];
    repeated uint32 custom_properties = 15 [packed = true];
  }
  message Geometry {
    required Type type = 1;
    repeated uint32 lengths = 2 [packed = true];
    repeated sint64 coords = 3 [packed = true];
    repeated Geometry geometries = 4;
    repeated Value values = 13;
    repeated uint32 custom_properties = 15 [packed = true];
    enum Type {
      POINT = 0; MULTIPOINT = 1; LINESTRING = 2; MULTILINESTRING = 3; POLYGON = 4; MULTIPOLYGON = 5;
      GEOMETRYCOLLECTION = 6;
    }
  }
  message FeatureCollection {
    repeated Feature features = 1;
    repeated Value values = 13;
    repeated uint32 custom_properties = 15 [packed = true];
  }
  message Value {
    oneof value_type {
      string string_value = 1; double double_value = 2; uint64 pos_int_value = 3; uint64 neg_int_value = 4;
      bool bool_value = 5; string json_value = 6;
    }
  }
}
"""


@pytest.fixture(scope="session")
def messages(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Compile the messages of Mapbox's geobuf with Google's protobuf."""
    folder = tmp_path_factory.mktemp("geobuf")
    (folder / "geobuftest.proto").write_text(GEOBUF_PROTO)
    include = Path(grpc_tools.__file__).parent / "_proto"
    assert protoc.main(["", f"-I{folder}", f"-I{include}", f"--python_out={folder}", "geobuftest.proto"]) == 0
    specification = importlib.util.spec_from_file_location("geobuftest_pb2", folder / "geobuftest_pb2.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def rings_of(coordinates: list[int], lengths: list[int]) -> list[list[tuple[int, int]]]:
    """Undo the differences ring by ring, and close each."""
    rings, position = [], 0
    for length in lengths:
        steps = np.array(coordinates[position : position + 2 * length]).reshape(-1, 2)
        points = [tuple(point) for point in np.cumsum(steps, axis=0).tolist()]
        rings.append([*points, points[0]])
        position += 2 * length
    assert position == len(coordinates)
    return rings


def decoded(geometry: Any) -> list[list[list[tuple[int, int]]]]:
    """Decode polygons to rings in whole microdegrees, by the rules of geobuf-js."""
    coordinates, lengths = list(geometry.coords), list(geometry.lengths)
    if geometry.type == 4:
        return [rings_of(coordinates, lengths or [len(coordinates) // 2])]
    assert geometry.type == 5
    if not lengths:
        return [rings_of(coordinates, [len(coordinates) // 2])]
    count, *rest = lengths
    ring_counts, ring_lengths = [], []
    for _ in range(count):
        ring_counts.append(rest[0])
        ring_lengths += rest[1 : 1 + rest[0]]
        rest = rest[1 + rest[0] :]
    assert not rest
    rings = iter(rings_of(coordinates, ring_lengths))
    return [[next(rings) for _ in range(ring_count)] for ring_count in ring_counts]


def expected(geometry: Any) -> list[list[list[tuple[int, int]]]]:
    return [
        [
            [tuple(point) for point in np.round(np.array(ring.coords) * 1e6).astype(int).tolist()]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in getattr(geometry, "geoms", [geometry])
    ]


def product(footprint: Any) -> Product:
    return Product(
        product_id="S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
        scene=SceneKey(dt.date(2026, 5, 1), 65, "32TQM"),
        model=ModelVersion("corine-unet", 1),
        product_type="S2MSI2A",
        sensed_at=dt.datetime(2026, 5, 1, 10, 15, 59, tzinfo=dt.UTC),
        published_at=dt.datetime(2026, 5, 2, 8, 0, tzinfo=dt.UTC),
        footprint=footprint,
        cloud_cover_percent=12.637376,
        class_codes=frozenset({512, 311}),
        folder="products/corine-unet-v1/2026-05-01_R065_T32TQM/0123456789ab",
    )


SQUARE = shapely.box(-9.5, 38.25, -9.25, 38.5)
HOLED = shapely.Polygon(
    [(16.282936, 45.624057), (17, 45.6), (17.1, 46.2), (16.2, 46.3)],
    [[(16.4, 45.8), (16.5, 45.8), (16.5, 45.9)], [(16.6, 46.0), (16.7, 46.0), (16.65, 46.1)]],
)
FOOTPRINTS = [
    SQUARE,
    HOLED,
    shapely.MultiPolygon([SQUARE]),
    shapely.MultiPolygon([HOLED]),
    shapely.MultiPolygon(
        [SQUARE, HOLED, shapely.box(-180, -90, -179.999999, -89.999999), shapely.box(179, 80, 180, 90)]
    ),
]


@pytest.mark.parametrize("footprint", FOOTPRINTS, ids=lambda shape: f"{shape.geom_type}{len(decoded_parts(shape))}")
def test_product_feature_decodes_to_its_footprint(messages: ModuleType, footprint: Any) -> None:
    data = messages.Data.FromString(encode_product_feature(product(footprint)))
    assert (data.HasField("dimensions"), data.dimensions) == (True, 2)
    assert (data.HasField("precision"), data.precision) == (True, 6)
    assert data.feature.geometry.type == (5 if footprint.geom_type == "MultiPolygon" else 4)
    assert decoded(data.feature.geometry) == expected(footprint)
    assert data.feature.id == product(footprint).product_id


def decoded_parts(shape: Any) -> list[Any]:
    return list(getattr(shape, "geoms", [shape]))


def test_product_feature_has_its_facts_as_json(messages: ModuleType) -> None:
    feature = messages.Data.FromString(encode_product_feature(product(SQUARE)))
    numbers = list(feature.feature.properties)
    facts = {
        feature.keys[key]: json.loads(feature.feature.values[value].json_value)
        for key, value in zip(numbers[::2], numbers[1::2], strict=True)
    }
    assert facts == {
        "product_id": "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
        "product_type": "S2MSI2A",
        "creation_date": "2026-05-01T00:00:00Z",
        "publication_date": "2026-05-01T00:00:00Z",
        "sensed_at": "2026-05-01T10:15:59Z",
        "published_at": "2026-05-02T08:00:00Z",
        "cloud_cover": 12.637376,
        "categories": [311, 512],
        "model": "corine-unet-v1",
    }


def test_single_rings_have_no_lengths(messages: ModuleType) -> None:
    for footprint in (SQUARE, shapely.MultiPolygon([SQUARE])):
        data = messages.Data.FromString(encode_product_feature(product(footprint)))
        assert not data.feature.geometry.lengths


coordinates = st.tuples(
    st.integers(-180_000_000, 180_000_000).map(lambda n: n / 1e6),
    st.integers(-90_000_000, 90_000_000).map(lambda n: n / 1e6),
)
any_rings = st.lists(coordinates, min_size=3, max_size=6)
any_polygons = st.builds(shapely.Polygon, any_rings, st.lists(any_rings, max_size=2))


@given(st.one_of(any_polygons, st.builds(shapely.MultiPolygon, st.lists(any_polygons, min_size=1, max_size=3))))
@settings(max_examples=200, deadline=None)
def test_every_footprint_decodes_exactly(messages: ModuleType, footprint: Any) -> None:
    data = messages.Data.FromString(encode_product_feature(product(footprint)))
    assert decoded(data.feature.geometry) == expected(footprint)


@pytest.fixture(scope="module")
def layer(swath_codes: Callable[..., np.ndarray], part_of_tile: Callable[..., PixelGrid]) -> PolygonLayer:
    codes = swath_codes(150, 180)
    codes[60:100, 100:140] = 311
    codes[70:90, 110:130] = 512  # a hole, for certain
    return land_cover_polygons(
        codes,
        np.full(codes.shape, 73, np.uint8),
        part_of_tile(150, 180),
        "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
        ModelVersion("corine-unet", 1),
    ).layer


def test_the_collection_has_every_polygon(messages: ModuleType, layer: PolygonLayer) -> None:
    data = messages.Data.FromString(encode_feature_collection(layer))
    features = data.feature_collection.features
    assert len(features) == len(layer) > 20
    assert any(feature.geometry.lengths for feature in features)
    for position, (feature, row) in enumerate(zip(features, layer.frame.itertuples(), strict=True)):
        assert decoded(feature.geometry) == expected(row.geometry)
        assert feature.id == str(position)
        numbers = list(feature.properties)
        values = {
            data.keys[key]: getattr(feature.values[value], feature.values[value].WhichOneof("value_type"))
            for key, value in zip(numbers[::2], numbers[1::2], strict=True)
        }
        assert values == {
            "code": row.code,
            "name": row.name,
            "level_1": row.level_1,
            "level_2": row.level_2,
            "area_m2": row.area_m2,
            "mean_confidence": 73.0,
        }


def test_shared_properties_are_stored_once_in_the_collection(messages: ModuleType, layer: PolygonLayer) -> None:
    data = messages.Data.FromString(encode_feature_collection(layer))
    collection = data.feature_collection
    numbers = list(collection.custom_properties)
    common = {
        data.keys[key]: collection.values[value].string_value
        for key, value in zip(numbers[::2], numbers[1::2], strict=True)
    }
    assert common == {"product_id": layer.product_id, "model": "corine-unet-v1"}


def test_google_protobuf_writes_the_same_bytes(messages: ModuleType, layer: PolygonLayer) -> None:
    encoded = encode_feature_collection(layer)
    assert messages.Data.FromString(encoded).SerializeToString(deterministic=True) == encoded


def test_no_polygons(messages: ModuleType, layer: PolygonLayer, part_of_tile: Callable[..., PixelGrid]) -> None:
    grid = part_of_tile(4, 4)
    nothing = land_cover_polygons(
        np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.uint8), grid, layer.product_id, ModelVersion("corine-unet", 1)
    ).layer
    data = messages.Data.FromString(encode_feature_collection(nothing))
    assert data.WhichOneof("data_type") == "feature_collection"
    assert not data.feature_collection.features


def test_other_geometries_are_refused() -> None:
    with pytest.raises(ProductError, match="polygons only"):
        encode_product_feature(product(shapely.Point(1, 2)))
