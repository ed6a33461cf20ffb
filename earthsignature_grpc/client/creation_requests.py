"""Requests of the clients that create a product."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ProductError, QueryError, UnknownClassError
from earthsignature_assets.products.polygons.geobuf import PRECISION, encode_feature, encode_feature_collection
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_grpc.client.requests import Call
from earthsignature_grpc.wire.descriptors import V1, V2, wire_class

if TYPE_CHECKING:
    import geopandas as gpd


class ProductFacts(TypedDict, total=False):
    """Facts about a product that a client creates.

    Attributes:
        product_id: the Sentinel-2 product name, without `.SAFE`.
        model: the model version that made it, `<name>-v<number>`.
        sensed_at: time of acquisition, with a time zone; by default that in the product name.
        cloud_cover_percent: cloud cover of the valid area; by default computed from the cloud mask.
        confidence_percent: confidence of all classes, for products from rasters; by default 0, for unknown.
        source: URL of the scene's STAC item.
    """

    product_id: Required[str]
    model: Required[str]
    sensed_at: dt.datetime
    cloud_cover_percent: float
    confidence_percent: float
    source: str


_NAMES = {"cloud_cover_percent": "cloud_cover", "confidence_percent": "confidence"}


def create_v1(
    land_cover: bytes | Path, cloud_mask: bytes | Path, footprint: BaseGeometry | None, facts: ProductFacts
) -> Call[None]:
    """Make the call `CreateProduct` of version 1.

    Raises:
        QueryError: a file cannot be read, or the footprint is not a polygon.
    """
    properties = _properties(facts)
    request: Any = wire_class("snapearth.api.v1.CreateProductRequest")(
        segmentation=_content("land_cover", land_cover), cloud_mask=_content("cloud_mask", cloud_mask)
    )
    if footprint is None:
        request.data.dimensions, request.data.precision = 2, PRECISION
        _describe_collection(request.data, properties)
    else:
        try:
            request.data.ParseFromString(encode_feature(footprint, facts["product_id"], properties))
        except ProductError as error:
            raise QueryError("footprint", str(error)) from error
    return Call(f"/{V1}/CreateProduct", request.SerializeToString(), lambda _: None)


def create_v2(polygons: "gpd.GeoDataFrame", facts: ProductFacts) -> Call[None]:
    """Make the call `CreateProduct` of version 2.

    Raises:
        QueryError: the frame has no CRS, no column `code` of classes, or geometries other than polygons.
    """
    properties = _properties(facts)
    request: Any = wire_class("snapearth.api.v2.CreateProductRequest")()
    try:
        request.product.ParseFromString(encode_feature_collection(_layer(polygons, facts)))
    except UnknownClassError as error:
        raise QueryError("polygons", str(error)) from error
    _describe_collection(
        request.product, {name: properties[name] for name in properties.keys() - {"product_id", "model"}}
    )
    return Call(f"/{V2}/CreateProduct", request.SerializeToString(), lambda _: None)


def _layer(polygons: "gpd.GeoDataFrame", facts: ProductFacts) -> PolygonLayer:
    if polygons.crs is None or "code" not in polygons.columns or not len(polygons):
        raise QueryError("polygons", "must be a frame with rows, a CRS, and the column `code`: CORINE level-3 classes")
    degrees = polygons.to_crs(4326)
    parts, owner = shapely.get_parts(degrees.geometry.to_numpy(), return_index=True)
    if not (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON).all():
        raise QueryError("polygons", "holds geometries other than polygons and multipolygons; drop them")
    codes = degrees["code"].to_numpy()
    if not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0 or codes.max() > np.iinfo(np.uint16).max:
        raise QueryError("polygons", f"has a column `code` of {codes.dtype}; give CORINE level-3 codes, 111…523")
    confidence = degrees.get("mean_confidence", degrees["code"] * 0.0).to_numpy(np.float32)
    return PolygonLayer.of_polygons(
        facts["product_id"],
        facts["model"],
        shapely.orient_polygons(parts, exterior_cw=False),
        codes.astype(np.uint16)[owner],
        np.zeros(len(parts)),  # the service computes the areas
        confidence[owner],
    )


def _properties(facts: ProductFacts) -> dict[str, Any]:
    return {
        _NAMES.get(name, name): value.isoformat() if isinstance(value, dt.datetime) else value
        for name, value in facts.items()
    }


def _describe_collection(data: Any, properties: dict[str, Any]) -> None:
    collection = data.feature_collection
    collection.SetInParent()
    for name, value in sorted(properties.items()):
        collection.custom_properties.extend([len(data.keys), len(collection.values)])
        data.keys.append(name)
        collection.values.add(json_value=json.dumps(value))


def _content(field: str, raster: bytes | Path) -> bytes:
    if isinstance(raster, bytes):
        return raster
    try:
        return raster.read_bytes()
    except OSError as error:
        raise QueryError(field, f"{raster} cannot be read: {error.strerror or error}") from error
