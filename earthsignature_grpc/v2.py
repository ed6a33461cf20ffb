"""Version 2 of the API: decodes requests into queries, and renders products as Geobuf."""

from functools import partial

from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.polygons.geobuf import encode_product_feature
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.messages.snapearth.api.v2 import ListProductIdsRequest, ListSegmentationRequest
from earthsignature_grpc.reading.product_reader import ProductReader, Rendering
from earthsignature_grpc.reading.queries import parse_class_codes, parse_result_limit, product_query
from earthsignature_grpc.reading.selections import ALL_POLYGONS, PolygonSelection
from earthsignature_grpc.wire.strict_decoding import decode_request, encode, length_delimited

_DATA_FIELD = 1


def segmentation_request(content: bytes) -> tuple[ProductQuery, Rendering]:
    """Decode a `ListSegmentationRequest` into its query and the rendering of its products.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
    """
    request = decode_request(content, ListSegmentationRequest, "snapearth.api.v2.ListSegmentationRequest")
    query = product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_codes(request.categories),
        model=request.model,
        product_ids=request.product_ids,
        limit=parse_result_limit(request.n_results),
    )
    codes = parse_class_codes(request.polygon_categories, "polygon_categories")
    selection = PolygonSelection(request.min_area_m2 or 0.0, request.tolerance_m or 0.0, codes)
    render = partial(render_polygons, selection=selection)
    return query, Rendering(render, ("v2", selection), heavy=not selection.is_whole)


def product_ids_query(content: bytes) -> ProductQuery:
    """Decode a `ListProductIdsRequest` into its query.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
    """
    request = decode_request(content, ListProductIdsRequest, "snapearth.api.v2.ListProductIdsRequest")
    return product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_codes(request.categories),
        model=request.model,
    )


def render_polygons(reader: ProductReader, product: Product, selection: PolygonSelection = ALL_POLYGONS) -> bytes:
    """Render a `SegmentationResponse` around the stored FeatureCollection, byte for byte, or a selection of it."""
    if selection.is_whole:
        content = reader.read(product, Asset.GEOBUF)
    else:
        # Imported here because it loads pyarrow and numba, which a server of whole products never needs.
        from earthsignature_grpc.reading.polygon_parts import select_polygons

        content = select_polygons(reader.read(product, Asset.POLYGONS), product.scene.tile, selection)
    item = encode("snapearth.api.v2.SegmentationResponse", item_url=reader.url(product, Asset.ITEM))
    return b"".join((*length_delimited(_DATA_FIELD, content), item))


def render_product_feature(_: ProductReader, product: Product) -> bytes:
    """Render a `SegmentationResponse` around one Feature: the footprint, and the product's facts as JSON values."""
    return b"".join(length_delimited(_DATA_FIELD, encode_product_feature(product)))
