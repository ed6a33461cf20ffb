"""Export of products' polygons to formats of other programs, by GDAL through pyogrio."""

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
    # At zoom 13 and 50° north a pixel is 10 m; below zoom 8 a polygon of a quarter of a hectare vanishes.
    PMTILES = _Driver("PMTiles", ".pmtiles", {"MINZOOM": 8, "MAXZOOM": 13})
    GEOJSON = _Driver("GeoJSON", ".geojson", {}, {"RFC7946": "YES"})
    GEOPARQUET = _Driver("Parquet", ".parquet")

    @property
    def suffix(self) -> str:
        """Suffix of the format's files."""
        return self.value.suffix


def export_polygons(geoparquet: bytes, path: Path, form: ExportFormat) -> int:
    """Write the polygons of a product in another format; return their number.

    The file appears whole or not at all, and replaces an existing one.

    Args:
        geoparquet: the product's `polygons.parquet`.
        path: the file; its folder must exist.
        form: the format.

    Raises:
        ProductError: the bytes are not a product's GeoParquet.
        StoreUnavailableError: the file cannot be written.
    """
    try:
        table = pq.read_table(pa.BufferReader(geoparquet))
        features = table.drop_columns(["bbox"])
    except (pa.ArrowException, KeyError) as error:
        raise ProductError(f"{path.name}: the product's polygons are damaged: {error}") from error
    try:
        # GDAL relies on suffixes and writes auxiliary files next to its output: a temporary folder holds them all.
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
