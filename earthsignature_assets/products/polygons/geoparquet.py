"""GeoParquet of a polygon layer, written and read as flat arrays, without an object for each polygon."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS

from earthsignature_assets.errors import ProductError, UnknownClassError
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.system.atomic import whole_file

FACTS_KEY = b"earthsignature"
"""Metadata key of the JSON with `write_geoparquet`'s facts."""

_ROWS_AT_ONCE = 32_768
# Dictionaries and statistics of geometries are useless.
_ENUMERATED = ["code", "name", "level_1", "level_2", "product_id", "model"]
_PARQUET = {
    "compression": "zstd",
    "use_dictionary": _ENUMERATED,
    "write_statistics": [*_ENUMERATED, *(f"bbox.{side}" for side in ("xmin", "ymin", "xmax", "ymax"))],
}
_HEAD = 9  # a polygon in WKB: byte order, type, number of rings
_BOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_SCHEMA = pa.schema(
    [
        ("code", pa.uint16()),
        ("name", pa.string()),
        ("level_1", pa.uint8()),
        ("level_2", pa.uint8()),
        ("area_m2", pa.float64()),
        ("mean_confidence", pa.float32()),
        ("product_id", pa.string()),
        ("model", pa.string()),
        ("geometry", pa.binary()),
        ("bbox", _BOX),
    ]
)


def write_geoparquet(layer: PolygonLayer, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write polygons as GeoParquet 1.1 with a bbox covering, zstd; the same polygons give the same bytes.

    The file appears whole or not at all.

    Args:
        layer: the polygons.
        path: the file.
        facts: further metadata of the file, as JSON under the key `earthsignature`.

    Raises:
        StoreUnavailableError: the file cannot be written.
    """
    geo, more = json.dumps(_geo(layer)), json.dumps(facts or {}, sort_keys=True)
    schema = _SCHEMA.with_metadata({b"geo": geo.encode(), FACTS_KEY: more.encode()})
    with whole_file(path) as part, pq.ParquetWriter(part, schema, **_PARQUET) as writer:
        for first in range(0, max(len(layer), 1), _ROWS_AT_ONCE):
            writer.write_table(_rows(layer, first, min(first + _ROWS_AT_ONCE, len(layer)), schema))


def read_geoparquet(path: Path) -> PolygonLayer:
    """Read back what `write_geoparquet` wrote, and validate it to the last byte.

    Raises:
        ProductError: the file is missing or damaged, or has other content.
    """
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_SCHEMA) or b"geo" not in (file.schema_arrow.metadata or {}):
                columns = ", ".join(_SCHEMA.names)
                raise ProductError(f"{path.name} does not have the columns {columns} of a product's GeoParquet")
            # One row group after another: the whole table takes half a gigabyte.
            parts = [_read_rows(path.name, file.read_row_group(group)) for group in range(file.num_row_groups)]
    except (OSError, pa.ArrowException) as error:
        raise ProductError(f"{path.name} is damaged or not GeoParquet: {error}") from error
    shared = {(part.product_id, part.model) for part in parts if len(part)}
    if len(shared) > 1:
        raise ProductError(f"{path.name} holds polygons of several products or models: {sorted(shared)[:3]}")
    product_id, model = shared.pop() if shared else ("", "")
    return PolygonLayer.joined(product_id, model, parts)


def _read_rows(name: str, table: pa.Table) -> PolygonLayer:
    if any(column.null_count for column in table.columns):
        raise ProductError(f"{name} has empty fields")
    shared = {}
    for column in ("product_id", "model"):
        values = table[column].unique().to_pylist()
        if len(values) > 1:
            raise ProductError(f"{name} holds polygons of several products or models: {values[:3]}")
        shared[column] = values[0] if values else ""
    coordinates, ring_offsets, polygon_offsets = _ragged(name, table["geometry"].combine_chunks())
    layer = PolygonLayer(
        **shared,
        codes=table["code"].to_numpy(),
        areas_m2=table["area_m2"].to_numpy(),
        mean_confidence=table["mean_confidence"].to_numpy(),
        coordinates=coordinates,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
    )
    try:
        derived = _class_columns(layer.codes) | {"bbox": _boxes(layer.bounds())}
    except UnknownClassError as error:
        raise ProductError(f"{name}: {error}") from error
    for column, values in derived.items():
        if not table[column].combine_chunks().equals(values):
            raise ProductError(f"{name}: the column {column} contradicts its code or its geometry")
    return layer


def read_facts(path: Path) -> dict[str, Any]:
    """Read the facts written with the polygons.

    Raises:
        ProductError: the file is missing or damaged, or not a product's GeoParquet.
    """
    try:
        facts: dict[str, Any] = json.loads(pq.read_schema(path).metadata[FACTS_KEY])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ProductError(f"{path.name} is damaged or not a product's GeoParquet: {error!r}") from error
    return facts


def _geo(layer: PolygonLayer) -> dict[str, Any]:
    """Build the GeoParquet metadata: https://geoparquet.org/releases/v1.1.0/."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if len(layer):
        column["bbox"] = [*layer.coordinates.min(axis=0).tolist(), *layer.coordinates.max(axis=0).tolist()]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _rows(layer: PolygonLayer, first: int, last: int, schema: pa.Schema) -> pa.Table:
    rows = slice(first, last)
    offsets, content = _wkb(
        layer.coordinates.view(np.uint8).reshape(-1), layer.ring_offsets, layer.polygon_offsets[first : last + 1]
    )
    columns = {
        "code": pa.array(layer.codes[rows]),
        **_class_columns(layer.codes[rows]),
        "area_m2": pa.array(layer.areas_m2[rows]),
        "mean_confidence": pa.array(layer.mean_confidence[rows]),
        "product_id": pa.repeat(layer.product_id, last - first),
        "model": pa.repeat(layer.model, last - first),
        "geometry": pa.Array.from_buffers(
            pa.binary(), last - first, [None, pa.py_buffer(offsets), pa.py_buffer(content)]
        ),
        "bbox": _boxes(layer.bounds(first, last)),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _class_columns(codes: npt.NDArray[np.uint16]) -> dict[str, pa.Array]:
    """Compute the columns derived from the code."""
    present, index = np.unique(codes, return_inverse=True)
    names = pa.array([class_of(int(code)).name for code in present], pa.string())
    return {
        "name": names.take(pa.array(index)),
        "level_1": pa.array((codes // 100).astype(np.uint8)),
        "level_2": pa.array((codes // 10).astype(np.uint8)),
    }


def _boxes(bounds: npt.NDArray[np.float64]) -> pa.Array:
    return pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], fields=list(_BOX))


def _ragged(
    name: str, geometries: pa.Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Decode polygons in little-endian WKB to coordinates, ring offsets and polygon offsets."""
    _, offset_buffer, content_buffer = geometries.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[geometries.offset : geometries.offset + len(geometries) + 1]
    content = np.frombuffer(content_buffer, np.uint8) if content_buffer else np.zeros(0, np.uint8)
    ok, coordinates, ring_offsets, polygon_offsets = _parse_wkb(offsets, content)
    if not ok:
        raise ProductError(f"{name} holds geometries that are not polygons in little-endian WKB")
    return coordinates.view(np.float64).reshape(-1, 2), ring_offsets, polygon_offsets


@numba.njit(cache=True, nogil=True)
def _put_uint32(content, position, value):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for byte in range(4):
        content[position + byte] = (value >> (8 * byte)) & 0xFF
    return position + 4


@numba.njit(cache=True, nogil=True)
def _get_uint32(content, position):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    value = np.int64(0)
    for byte in range(4):
        value |= np.int64(content[position + byte]) << (8 * byte)
    return value


@numba.njit(cache=True, nogil=True)
def _wkb(coordinates, ring_offsets, polygon_offsets):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Encode polygons as little-endian WKB: int32 offsets and bytes. The coordinates are bytes, 16 for each vertex."""
    count = polygon_offsets.size - 1
    offsets = np.zeros(count + 1, np.int32)
    for polygon in range(count):
        first, last = polygon_offsets[polygon], polygon_offsets[polygon + 1]
        size = _HEAD + 4 * (last - first) + 16 * (ring_offsets[last] - ring_offsets[first])
        offsets[polygon + 1] = offsets[polygon] + size
    content = np.empty(offsets[count], np.uint8)
    position = 0
    for polygon in range(count):
        first, last = polygon_offsets[polygon], polygon_offsets[polygon + 1]
        content[position] = 1
        position = _put_uint32(content, position + 1, 3)
        position = _put_uint32(content, position, last - first)
        for ring in range(first, last):
            start, end = ring_offsets[ring], ring_offsets[ring + 1]
            position = _put_uint32(content, position, end - start)
            content[position : position + 16 * (end - start)] = coordinates[16 * start : 16 * end]
            position += 16 * (end - start)
    return offsets, content


@numba.njit(cache=True, nogil=True)
def _parse_wkb(offsets, content):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Decode `_wkb`: return whether the input is valid, coordinates as bytes, ring offsets and polygon offsets."""
    count = offsets.size - 1
    polygon_offsets = np.zeros(count + 1, np.int64)
    coordinates = np.empty(0, np.uint8)
    ring_offsets = np.zeros(1, np.int64)
    ring = 0
    size = np.int64(0)
    for filling in range(2):
        if filling:
            coordinates, ring_offsets = np.empty(size, np.uint8), np.zeros(ring + 1, np.int64)
        ring = 0
        size = np.int64(0)
        for polygon in range(count):
            position, end = np.int64(offsets[polygon]), np.int64(offsets[polygon + 1])
            if end - position < _HEAD or content[position] != 1 or _get_uint32(content, position + 1) != 3:
                return False, coordinates, ring_offsets, polygon_offsets
            wanted = _get_uint32(content, position + 5)
            position += _HEAD
            for _ in range(wanted):
                length = 16 * _get_uint32(content, position) if position + 4 <= end else np.int64(0)
                position += 4
                if length == 0 or position + length > end:
                    return False, coordinates, ring_offsets, polygon_offsets
                if filling:
                    coordinates[size : size + length] = content[position : position + length]
                    ring_offsets[ring + 1] = (size + length) // 16
                position += length
                size += length
                ring += 1
            if position != end or wanted == 0:
                return False, coordinates, ring_offsets, polygon_offsets
            polygon_offsets[polygon + 1] = ring
    return True, coordinates, ring_offsets, polygon_offsets
