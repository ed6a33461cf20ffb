"""Geobuf, the format of the second API, encoded directly to bytes with numpy.

Field numbers and rules are those of Mapbox's geobuf (geobuf.proto and the encoder of geobuf-js): coordinates are
integers at 1e-6 degree, each ring restarts its differences from zero and omits its closing point, and `lengths` is
omitted for a single ring. `dimensions`, `precision` and a geometry's `type` are always written, and ids are strings,
because some decoders misread absent or signed values.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ProductError
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.product import Product
from earthsignature_assets.system.protobuf_wire import field_head, varint

PRECISION = 6

_POLYGON, _MULTIPOLYGON = 4, 5
_FEATURE_KEYS = ("code", "name", "level_1", "level_2", "area_m2", "mean_confidence")
_COLLECTION_KEYS = ("product_id", "model")


def encode_feature_collection(layer: PolygonLayer) -> bytes:
    """Encode the `geobufproto.Data` of a product's polygons: one feature for each, with its position as the id.

    `product_id` and `model`, which all share, are custom properties of the collection.
    """
    classes = [class_of(int(code)) for code in np.unique(layer.codes)]
    heads = [
        _integer_value(entry.code)
        + _string_value(entry.name)
        + _integer_value(entry.level_1)
        + _integer_value(entry.level_2)
        for entry in classes
    ]
    numbers = range(len(_FEATURE_KEYS))
    properties = _packed(14, [index for number in numbers for index in (number, number)])
    common = b""
    if len(layer):
        first = len(_FEATURE_KEYS)
        common = _string_value(layer.product_id) + _string_value(layer.model)
        common += _packed(15, [first, 0, first + 1, 1])
    # It imports numba, 60 MB that a server of ready messages does not need.
    from earthsignature_assets.products.polygons.geobuf_features import encode_features

    features = encode_features(layer, heads, properties).data
    return _data((*_FEATURE_KEYS, *_COLLECTION_KEYS), 4, features, common)


def encode_product_feature(product: Product) -> bytes:
    """Encode the `geobufproto.Data` of one product, for lists: its footprint, and its facts as JSON values.

    `creation_date` and `publication_date` are midnight UTC of the acquisition day, as clients expect and as in the
    first API; `sensed_at` and `published_at` are the exact times.
    """
    midnight = product.sensed_at.replace(hour=0, minute=0, second=0, microsecond=0)
    facts = {
        "product_id": product.product_id,
        "product_type": product.product_type,
        "creation_date": _iso(midnight),
        "publication_date": _iso(midnight),
        "sensed_at": _iso(product.sensed_at),
        "published_at": _iso(product.published_at),
        "cloud_cover": product.cloud_cover_percent,
        "categories": sorted(product.class_codes),
        "model": str(product.model),
    }
    return encode_feature(product.footprint, product.product_id, facts)


def encode_feature(shape: BaseGeometry, feature_id: str, properties: Mapping[str, Any]) -> bytes:
    """Encode the `geobufproto.Data` of one feature: a polygon or multipolygon in EPSG:4326, with JSON properties.

    Raises:
        ProductError: the shape is neither.
    """
    values = b"".join(_field(13, _field(6, json.dumps(value).encode())) for value in properties.values())
    numbers = [index for number in range(len(properties)) for index in (number, number)]
    feature = _field(1, _geometry(shape)) + _field(11, feature_id.encode()) + values + _packed(14, numbers)
    return _data(tuple(properties), 5, feature)


def _iso(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _data(keys: Sequence[str], number: int, *contents: bytes | memoryview) -> bytes:
    head = b"".join(_field(1, key.encode()) for key in keys)
    size = sum(map(len, contents))
    head += bytes([2 << 3, 2, 3 << 3, PRECISION]) + field_head(number, size)
    return b"".join([head, *contents])


def _geometry(shape: BaseGeometry) -> bytes:
    """Encode the `Geometry` message of a polygon or multipolygon in degrees."""
    if not isinstance(shape, Polygon | MultiPolygon):
        raise ProductError(f"geobuf encodes polygons only, the footprint is a {shape.geom_type}")
    multiple = isinstance(shape, MultiPolygon)
    parts = list(shape.geoms) if isinstance(shape, MultiPolygon) else [shape]
    lengths = [len(parts)] if multiple else []
    steps: list[int] = []
    ring_count = 0
    for part in parts:
        rings = [part.exterior, *part.interiors]
        ring_count += len(rings)
        lengths += [len(rings)] if multiple else []
        for ring in rings:
            whole = np.round(shapely.get_coordinates(ring)[:-1] * 10**PRECISION).astype(np.int64)
            lengths.append(len(whole))
            steps += np.diff(whole, axis=0, prepend=np.zeros((1, 2), np.int64)).ravel().tolist()
    message = bytes([1 << 3, _MULTIPOLYGON if multiple else _POLYGON])
    if ring_count > 1:
        message += _packed(2, lengths)
    return message + _packed(3, [step << 1 ^ step >> 63 for step in steps])


def _field(number: int, content: bytes) -> bytes:
    return field_head(number, len(content)) + content


def _packed(number: int, values: Sequence[int]) -> bytes:
    return _field(number, b"".join(map(varint, values)))


def _integer_value(value: int) -> bytes:
    return _field(13, b"\x18" + varint(value))


def _string_value(value: str) -> bytes:
    return _field(13, _field(1, value.encode()))
