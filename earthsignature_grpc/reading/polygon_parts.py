"""Selections of a product's polygons, as Geobuf."""

import tempfile
from pathlib import Path

import numpy as np
import shapely
from pyproj import Transformer

from earthsignature_assets.grid import tile_grid
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_grpc.reading.selections import PolygonSelection


def select_polygons(geoparquet: bytes, tile: str, selection: PolygonSelection) -> bytes:
    """Encode the selected polygons of a product's GeoParquet as Geobuf; ids count from 0 within the selection.

    Raises:
        ProductError: the stored file cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="earthsignature-select-") as folder:
        path = Path(folder) / "polygons.parquet"
        path.write_bytes(geoparquet)
        layer = read_geoparquet(path)
    keep = layer.areas_m2 >= selection.min_area_m2
    if selection.class_codes:
        keep &= np.isin(layer.codes, sorted(selection.class_codes))
    layer = layer.chosen(keep)
    if selection.tolerance_m and len(layer):
        layer = _simplified(layer, tile, selection.tolerance_m)
    return encode_feature_collection(layer)


def _simplified(layer: PolygonLayer, tile: str, tolerance_m: float) -> PolygonLayer:
    """Simplify all borders together, so that neighbours still share theirs."""
    epsg = tile_grid(tile).epsg
    there, back = Transformer.from_crs(4326, epsg, always_xy=True), Transformer.from_crs(epsg, 4326, always_xy=True)
    metres = shapely.transform(layer.geometries(), lambda xy: np.column_stack(there.transform(xy[:, 0], xy[:, 1])))
    simple = shapely.coverage_simplify(metres, tolerance_m)
    degrees = shapely.transform(simple, lambda xy: np.column_stack(back.transform(xy[:, 0], xy[:, 1])))
    return PolygonLayer.of_polygons(
        layer.product_id, layer.model, degrees, layer.codes, layer.areas_m2, layer.mean_confidence
    )
