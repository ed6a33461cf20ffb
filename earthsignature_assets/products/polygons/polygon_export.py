"""Polygons of published products in the formats of other programs, written by GDAL through pyogrio."""

import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from earthsignature_assets.errors import ProductError, StoreUnavailableError

_LAYER = "land_cover"
_FAULTS = (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, OSError)


@dataclass(frozen=True)
class _Driver:
    """A GDAL driver: its name, the suffix of its files, and the options of its files and layers."""

    name: str
    suffix: str
    file_options: dict[str, Any] = field(default_factory=dict)
    layer_options: dict[str, Any] = field(default_factory=dict)


class ExportFormat(Enum):
    """File formats for exported polygons."""

    FLATGEOBUF = _Driver("FlatGeobuf", ".fgb")
    GEOPACKAGE = _Driver("GPKG", ".gpkg", {}, {"GEOMETRY_NAME": "geometry"})
    # Zoom 13 shows 10 m as a pixel at 50° north; below 8 a polygon of a quarter of a hectare is none.
    PMTILES = _Driver("PMTiles", ".pmtiles", {"MINZOOM": 8, "MAXZOOM": 13})
    GEOJSON = _Driver("GeoJSON", ".geojson", {}, {"RFC7946": "YES"})
    GEOPARQUET = _Driver("Parquet", ".parquet")

    @property
    def suffix(self) -> str:
        """The suffix of its files."""
        return self.value.suffix


def export_polygons(geoparquet: bytes, path: Path, form: ExportFormat) -> int:
    """Write the polygons of a product in another format; returns how many there are.

    The file appears whole or not at all, and takes the place of one that is there.

    Args:
        geoparquet: the product's `polygons.parquet`.
        path: the file; its folder must exist.
        form: the format.

    Raises:
        ProductError: the bytes are not a GeoParquet of a product.
        StoreUnavailableError: the file cannot be written.
    """
    try:
        table = pq.read_table(pa.BufferReader(geoparquet))
        features = table.drop_columns(["bbox"])
    except (pa.ArrowException, KeyError) as error:
        raise ProductError(f"{path.name}: the product's polygons are damaged: {error}") from error
    try:
        # GDAL goes by suffixes and leaves files of its own beside the one that it writes: a folder holds them all.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
            part = Path(folder) / path.name
            if form is ExportFormat.GEOPARQUET:
                part.write_bytes(geoparquet)
            else:
                pyogrio.write_arrow(
                    features.replace_schema_metadata(None),
                    part,
                    layer=_LAYER,
                    driver=form.value.name,
                    geometry_name="geometry",
                    geometry_type="Polygon",
                    crs="EPSG:4326",
                    dataset_options=form.value.file_options,
                    layer_options=form.value.layer_options,
                )
            part.replace(path)
    except _FAULTS as error:
        raise StoreUnavailableError(f"{path} cannot be written: {error}; check that the disk has room") from error
    return len(table)
