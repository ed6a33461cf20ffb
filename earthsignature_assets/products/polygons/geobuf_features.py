"""Encode the features of a geobuf collection with numba, without an object for each polygon."""

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from earthsignature_assets.products.polygons.geobuf import PRECISION
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer

_SCALE = 10.0**PRECISION


def encode_features(layer: PolygonLayer, heads: Sequence[bytes], properties: bytes) -> npt.NDArray[np.uint8]:
    """Encode every polygon as a `Feature` in field 1 of a `FeatureCollection`: (bytes,) uint8.

    Args:
        layer: the polygons; the id of each is its position.
        heads: for each code of the layer in ascending order, the values before area and confidence.
        properties: the field that maps values to keys.
    """
    _, class_index = np.unique(layer.codes, return_inverse=True)
    encoded: npt.NDArray[np.uint8] = _encode(
        layer.coordinates,
        layer.ring_offsets,
        layer.polygon_offsets,
        class_index,
        np.frombuffer(b"".join(heads), np.uint8),
        np.cumsum([0, *map(len, heads)]),
        layer.areas_m2.astype("<f8").view(np.uint8),
        layer.mean_confidence.astype(np.float64).round(1).astype("<f8").view(np.uint8),
        np.frombuffer(properties, np.uint8),
    )
    return encoded


@numba.njit(cache=True, nogil=True)
def _width(value):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    width = 1
    value >>= 7
    while value > 0:
        width += 1
        value >>= 7
    return width


@numba.njit(cache=True, nogil=True)
def _put(output, position, value):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Write a varint; return the position of the next byte."""
    while value > 0x7F:
        output[position] = (value & 0x7F) | 0x80
        position += 1
        value >>= 7
    output[position] = value
    return position + 1


@numba.njit(cache=True, nogil=True)
def _copy(output, position, content):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for byte in range(content.size):
        output[position + byte] = content[byte]
    return position + content.size


@numba.njit(cache=True, nogil=True)
def _digits(number):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    digits = 1
    while number > 9:
        digits += 1
        number //= 10
    return digits


@numba.njit(cache=True, nogil=True)
def _zigzag(whole, earlier):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    step = whole - earlier
    return (step << 1) ^ (step >> 63)


@numba.njit(cache=True, nogil=True)
def _encode(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    coordinates, ring_offsets, polygon_offsets, class_index, heads, head_offsets, areas, confidences, properties
):
    count = polygon_offsets.size - 1
    coordinate_bytes = np.zeros(count, np.int64)
    geometry_bytes = np.zeros(count, np.int64)
    feature_bytes = np.zeros(count, np.int64)
    length_bytes = np.zeros(count, np.int64)
    total = np.int64(0)
    for polygon in range(count):
        first, last = polygon_offsets[polygon], polygon_offsets[polygon + 1]
        size = 0
        lengths = 0
        for ring in range(first, last):
            start, end = ring_offsets[ring], ring_offsets[ring + 1] - 1  # without the closing point
            lengths += _width(end - start)
            x = np.int64(0)
            y = np.int64(0)
            for vertex in range(start, end):
                new_x = np.int64(np.rint(coordinates[vertex, 0] * _SCALE))
                new_y = np.int64(np.rint(coordinates[vertex, 1] * _SCALE))
                size += _width(_zigzag(new_x, x)) + _width(_zigzag(new_y, y))
                x, y = new_x, new_y
        coordinate_bytes[polygon] = size
        geometry = 2 + 1 + _width(size) + size
        if last - first > 1:
            length_bytes[polygon] = lengths
            geometry += 1 + _width(lengths) + lengths
        geometry_bytes[polygon] = geometry
        head = head_offsets[class_index[polygon] + 1] - head_offsets[class_index[polygon]]
        feature = 1 + _width(geometry) + geometry + 2 + _digits(polygon) + head + 2 * 11 + properties.size
        feature_bytes[polygon] = feature
        total += 1 + _width(feature) + feature
    output = np.empty(total, np.uint8)
    at = np.int64(0)
    for polygon in range(count):
        first, last = polygon_offsets[polygon], polygon_offsets[polygon + 1]
        output[at] = 1 << 3 | 2
        at = _put(output, at + 1, feature_bytes[polygon])
        output[at] = 1 << 3 | 2  # geometry
        at = _put(output, at + 1, geometry_bytes[polygon])
        output[at] = 1 << 3
        output[at + 1] = 4  # POLYGON
        at += 2
        if last - first > 1:
            output[at] = 2 << 3 | 2
            at = _put(output, at + 1, length_bytes[polygon])
            for ring in range(first, last):
                at = _put(output, at, ring_offsets[ring + 1] - ring_offsets[ring] - 1)
        output[at] = 3 << 3 | 2
        at = _put(output, at + 1, coordinate_bytes[polygon])
        for ring in range(first, last):
            x = np.int64(0)
            y = np.int64(0)
            for vertex in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                new_x = np.int64(np.rint(coordinates[vertex, 0] * _SCALE))
                new_y = np.int64(np.rint(coordinates[vertex, 1] * _SCALE))
                at = _put(output, at, _zigzag(new_x, x))
                at = _put(output, at, _zigzag(new_y, y))
                x, y = new_x, new_y
        output[at] = 11 << 3 | 2  # id
        digits = _digits(polygon)
        output[at + 1] = digits
        number = polygon
        for digit in range(digits):
            output[at + 1 + digits - digit] = 48 + number % 10
            number //= 10
        at += 2 + digits
        of_class = class_index[polygon]
        at = _copy(output, at, heads[head_offsets[of_class] : head_offsets[of_class + 1]])
        for values in (areas, confidences):
            output[at] = 13 << 3 | 2  # values
            output[at + 1] = 9
            output[at + 2] = 2 << 3 | 1  # double_value
            at = _copy(output, at + 3, values[8 * polygon : 8 * polygon + 8])
        at = _copy(output, at, properties)
    return output
