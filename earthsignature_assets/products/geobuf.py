"""geobuf, the message of the second API: encoded with numpy straight to bytes.

The numbers and rules are those of mapbox's geobuf (geobuf.proto and the encoder of geobuf-js): coordinates are
integers at 1e-6 degree, each ring restarts its differences from zero and drops its closing point, `lengths` is
left out where there is a single ring. `dimensions`, `precision` and a geometry's `type` are always written, and ids
are strings, because some decoders misread what is absent or signed.
"""

import datetime as dt
import json
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.product import Product

if TYPE_CHECKING:
    import geopandas as gpd

PRECISION = 6
_POLYGON, _MULTIPOLYGON = 4, 5
_FEATURE_KEYS = ("code", "name", "level_1", "level_2", "area_m2", "mean_confidence")
_COLLECTION_KEYS = ("product_id", "model")


def encode_feature_collection(polygons: "gpd.GeoDataFrame") -> bytes:
    """The `geobufproto.Data` of a product's polygons: one feature each, its place in the frame as the id.

    What is the same for all, `product_id` and `model`, stands once, as custom properties of the collection.

    Args:
        polygons: the frame of `land_cover_polygons`: EPSG:4326, Polygon or MultiPolygon, its columns.

    Raises:
        ProductError: a geometry is no polygon.
    """
    geometries = _geometries(polygons.geometry.to_numpy())
    numbers = range(len(_FEATURE_KEYS))
    properties = _packed(14, [index for number in numbers for index in (number, number)])
    class_values: dict[int, bytes] = {}
    features = []
    for position, (geometry, code, name, level_1, level_2, area_m2, confidence) in enumerate(
        zip(geometries, *(polygons[key].tolist() for key in _FEATURE_KEYS), strict=True)
    ):
        head = class_values.get(code)
        if head is None:
            head = class_values[code] = (
                _integer_value(code) + _string_value(name) + _integer_value(level_1) + _integer_value(level_2)
            )
        feature = (
            _field(1, geometry)
            + _field(11, str(position).encode())
            + head
            + _double_value(area_m2)
            + _double_value(round(confidence, 1))
            + properties
        )
        features.append(_field(1, feature))
    common = b""
    if len(polygons):
        first = len(_FEATURE_KEYS)
        common = b"".join(_string_value(str(polygons[key].iloc[0])) for key in _COLLECTION_KEYS)
        common += _packed(15, [first, 0, first + 1, 1])
    return _data((*_FEATURE_KEYS, *_COLLECTION_KEYS), 4, b"".join(features) + common)


def encode_product_feature(product: Product) -> bytes:
    """The `geobufproto.Data` of one product, for lists: its footprint, and its facts as JSON values.

    `creation_date` and `publication_date` are midnight UTC of the acquisition day, as in the responses that clients
    know and as the first API says them; `sensed_at` and `published_at` are the moments themselves.
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
    values = b"".join(_field(13, _field(6, json.dumps(value).encode())) for value in facts.values())
    numbers = [index for number in range(len(facts)) for index in (number, number)]
    geometry = _geometries(np.array([product.footprint], object))[0]
    feature = _field(1, geometry) + _field(11, product.product_id.encode()) + values + _packed(14, numbers)
    return _data(tuple(facts), 5, feature)


def _iso(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _data(keys: Sequence[str], number: int, content: bytes) -> bytes:
    head = b"".join(_field(1, key.encode()) for key in keys)
    return head + bytes([2 << 3, 2, 3 << 3, PRECISION]) + _field(number, content)


def _geometries(geometries: npt.NDArray[np.object_]) -> list[bytes]:
    """The `Geometry` messages of polygons and multipolygons in degrees."""
    types = shapely.get_type_id(geometries)
    if not np.isin(types, [shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON]).all():
        raise ProductError("geobuf holds polygons only: a footprint or a land-cover polygon is of another type")
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_owner = shapely.get_rings(parts, return_index=True)
    coordinates, owner = shapely.get_coordinates(rings, return_index=True)
    vertices_of_ring = np.bincount(owner, minlength=len(rings))
    starts = np.cumsum(vertices_of_ring) - vertices_of_ring
    whole = np.round(coordinates * 10**PRECISION).astype(np.int64)
    steps = np.diff(whole, axis=0, prepend=np.zeros((1, 2), np.int64))
    steps[starts] = whole[starts]
    kept = np.ones(len(steps), bool)
    kept[starts + vertices_of_ring - 1] = False  # the closing points
    content, width = _zigzag_varints(steps[kept].ravel())
    bytes_of_vertex = np.zeros(len(steps), np.int64)
    bytes_of_vertex[kept] = width.reshape(-1, 2).sum(axis=1)

    geometry_of_ring = part_owner[ring_owner]
    bytes_of_geometry = np.bincount(geometry_of_ring[owner], weights=bytes_of_vertex, minlength=len(geometries)).astype(
        np.int64
    )
    ends = np.cumsum(bytes_of_geometry).tolist()
    rings_of_part = np.bincount(ring_owner, minlength=len(parts)).tolist()
    parts_of_geometry = np.bincount(part_owner, minlength=len(geometries)).tolist()
    vertices = (vertices_of_ring - 1).tolist()
    encoded = []
    part = ring = begin = 0
    for kind, part_count, end in zip(types.tolist(), parts_of_geometry, ends, strict=True):
        multiple = kind == shapely.GeometryType.MULTIPOLYGON
        lengths = [part_count] if multiple else []
        single = part_count == 1 and rings_of_part[part] == 1
        for _ in range(part_count):
            count = rings_of_part[part]
            lengths += ([count] if multiple else []) + vertices[ring : ring + count]
            part, ring = part + 1, ring + count
        message = bytes([1 << 3, _MULTIPOLYGON if multiple else _POLYGON])
        if not single:
            message += _packed(2, lengths)
        encoded.append(message + _field(3, content[begin:end]))
        begin = end
    return encoded


def _zigzag_varints(values: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Encode signed integers as zig-zag varints; also how many bytes each takes."""
    unsigned = ((values << 1) ^ (values >> 63)).view(np.uint64)
    width = np.ones(len(values), np.int64)
    rest = unsigned >> np.uint64(7)
    while rest.any():
        width += rest > 0
        rest >>= np.uint64(7)
    starts = np.cumsum(width) - width
    output = np.empty(int(width.sum()), np.uint8)
    for byte in range(int(width.max(initial=0))):
        longer = np.flatnonzero(width > byte)
        digit = (unsigned[longer] >> np.uint64(7 * byte)).astype(np.uint8) & np.uint8(0x7F)
        output[starts[longer] + byte] = digit | np.where(width[longer] > byte + 1, np.uint8(0x80), np.uint8(0))
    return output.tobytes(), width


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _packed(number: int, values: Sequence[int]) -> bytes:
    return _field(number, b"".join(map(_varint, values)))


def _integer_value(value: int) -> bytes:
    return _field(13, b"\x18" + _varint(value))


def _string_value(value: str) -> bytes:
    return _field(13, _field(1, value.encode()))


def _double_value(value: float) -> bytes:
    return _field(13, b"\x11" + struct.pack("<d", value))
