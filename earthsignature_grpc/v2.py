"""Version 2 of the API: requests to queries, products to polygons in Geobuf."""

from earthsignature_assets.products.catalogue import ProductQuery
from earthsignature_assets.products.geobuf import encode_product_feature
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.messages.snapearth.api.v2 import ListProductIdsRequest, ListSegmentationRequest
from earthsignature_grpc.queries import parse_class_codes, parse_result_limit, product_query
from earthsignature_grpc.reading import ProductReader
from earthsignature_grpc.wire import decode_request, length_delimited

_DATA_FIELD = 1


def segmentation_query(content: bytes) -> ProductQuery:
    """The query of a `ListSegmentationRequest`.

    Raises:
        QueryError: the bytes are malformed or a field cannot be answered as asked.
    """
    request = decode_request(content, ListSegmentationRequest, "snapearth.api.v2.ListSegmentationRequest")
    return product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_codes(request.categories),
        model=request.model,
        product_ids=request.product_ids,
        limit=parse_result_limit(request.n_results),
    )


def product_ids_query(content: bytes) -> ProductQuery:
    """The query of a `ListProductIdsRequest`.

    Raises:
        QueryError: the bytes are malformed or a field cannot be answered as asked.
    """
    request = decode_request(content, ListProductIdsRequest, "snapearth.api.v2.ListProductIdsRequest")
    return product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_codes(request.categories),
        model=request.model,
    )


def render_polygons(reader: ProductReader, product: Product) -> bytes:
    """A `SegmentationResponse` around the stored FeatureCollection, byte for byte."""
    return b"".join(length_delimited(_DATA_FIELD, reader.read(product, Asset.GEOBUF)))


def render_product_feature(_: ProductReader, product: Product) -> bytes:
    """A `SegmentationResponse` around one Feature: the footprint, and what is known as JSON values."""
    return b"".join(length_delimited(_DATA_FIELD, encode_product_feature(product)))
