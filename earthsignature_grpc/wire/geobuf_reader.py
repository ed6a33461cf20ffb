"""Geobuf messages, as version 2 sends them, to frames of polygons with properties."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from google.protobuf.message import DecodeError

from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_grpc.wire.descriptors import wire_class

_POLYGON, _MULTIPOLYGON = 4, 5


def read_frame(content: bytes) -> gpd.GeoDataFrame:
    """Read a `geobufproto.Data` message that holds a FeatureCollection or one Feature.

    Feature properties become columns; collection properties go to `attrs`.

    Returns:
        A frame in EPSG:4326, indexed by the features' ids.

    Raises:
        ServiceAnswerError: the bytes cannot be decoded, are inconsistent, or hold geometries other than polygons.
    """
    data: Any = wire_class("geobufproto.Data")()
    try:
        data.ParseFromString(content)
    except DecodeError as error:
        raise ServiceAnswerError(f"{len(content)} bytes are not a geobufproto.Data message: {error}") from error
    kind = data.WhichOneof("data_type")
    if kind not in ("feature_collection", "feature"):
        raise ServiceAnswerError(f"geobuf holds {kind or 'nothing'}; expected a feature collection or a feature")
    try:
        return _frame(data, kind)
    except (IndexError, ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise ServiceAnswerError(f"geobuf is inconsistent: {error!r}") from error


def _frame(data: Any, kind: str) -> gpd.GeoDataFrame:
    features = [data.feature] if kind == "feature" else data.feature_collection.features
    scale = 10.0**data.precision
    frame = gpd.GeoDataFrame(
        [dict(_properties(data.keys, feature.values, feature.properties)) for feature in features],
        geometry=[_shape(feature.geometry, data.dimensions, scale) for feature in features],
        index=[feature.id or str(feature.int_id) for feature in features],
        crs="EPSG:4326",
    )
    if kind == "feature_collection":
        collection = data.feature_collection
        frame.attrs.update(_properties(data.keys, collection.values, collection.custom_properties))
    return frame


def _properties(keys: Sequence[str], values: Sequence[Any], pairs: Sequence[int]) -> Iterator[tuple[str, Any]]:
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        kind = values[value].WhichOneof("value_type")
        content = getattr(values[value], kind)
        if kind == "json_value":
            content = json.loads(content)
        elif kind == "neg_int_value":
            content = -content
        yield keys[key], content


def _shape(geometry: Any, dimensions: int, scale: float) -> shapely.Polygon | shapely.MultiPolygon:
    steps = np.array(geometry.coords, np.int64).reshape(-1, dimensions)[:, :2]
    lengths = list(geometry.lengths)
    if geometry.type == _POLYGON:
        return _polygon(steps, lengths or [len(steps)], scale)
    if geometry.type != _MULTIPOLYGON:
        raise ServiceAnswerError(f"geobuf holds a geometry of type {geometry.type}; expected polygons")
    if not lengths:
        return shapely.MultiPolygon([_polygon(steps, [len(steps)], scale)])
    # The number of polygons; then for each polygon the number of rings and the vertices of each ring.
    parts, position, used = [], 1, 0
    for _ in range(lengths[0]):
        ring_count = lengths[position]
        rings = lengths[position + 1 : position + 1 + ring_count]
        parts.append(_polygon(steps[used : used + sum(rings)], rings, scale))
        position, used = position + 1 + ring_count, used + sum(rings)
    return shapely.MultiPolygon(parts)


def _polygon(steps: npt.NDArray[np.int64], ring_lengths: Sequence[int], scale: float) -> shapely.Polygon:
    # Deltas restart with each ring; shapely closes the rings.
    rings = [np.cumsum(ring, axis=0) / scale for ring in np.split(steps, np.cumsum(ring_lengths)[:-1])]
    return shapely.Polygon(rings[0], rings[1:])
