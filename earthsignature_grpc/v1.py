"""Version 1 of the API: decodes requests into queries, and renders products as rasters and names."""

import datetime as dt
from collections.abc import Sequence
from functools import partial

from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.messages.snapearth.api.v1 import ListProductIdsRequest, ListSegmentationRequest
from earthsignature_grpc.reading.areas import format_footprint, format_footprints
from earthsignature_grpc.reading.product_reader import ProductReader, Rendering
from earthsignature_grpc.reading.queries import parse_class_names, parse_result_limit, product_query
from earthsignature_grpc.reading.selections import WHOLE_RASTER, RasterSelection, raster_selection
from earthsignature_grpc.wire.strict_decoding import decode_request, encode, length_delimited

SEGMENTATION_RESPONSE = "snapearth.api.v1.SegmentationResponse"
_PRODUCT_ID = "snapearth.api.v1.ProductId"
_SEGMENTATION_FIELD = 2
_CLOUD_MASK_FIELD = 3


def segmentation_request(content: bytes) -> tuple[ProductQuery, Rendering]:
    """Decode a `ListSegmentationRequest` into its query and the rendering of its products.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
    """
    request = decode_request(content, ListSegmentationRequest, "snapearth.api.v1.ListSegmentationRequest")
    query = product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_names(request.categories),
        model=request.model,
        product_ids=request.product_ids,
        limit=parse_result_limit(request.n_results),
    )
    selection = raster_selection(query.area, request.crop, request.resolution_m, request.without_cloud_mask)
    render = partial(render_segmentation, selection=selection)
    return query, Rendering(render, ("v1", selection), heavy=not selection.is_whole)


def product_ids_query(content: bytes) -> ProductQuery:
    """Decode a `ListProductIdsRequest` into its query.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
    """
    request = decode_request(content, ListProductIdsRequest, "snapearth.api.v1.ListProductIdsRequest")
    return product_query(
        wkt=request.wkt,
        start_date=request.start_date,
        end_date=request.end_date,
        class_codes=parse_class_names(request.categories),
        model=request.model,
    )


def render_segmentation(reader: ProductReader, product: Product, selection: RasterSelection = WHOLE_RASTER) -> bytes:
    """Render a `SegmentationResponse`: the stored rasters byte for byte or a selection, with the product's facts."""
    # Encoded in two parts, so that fields are in the order of their numbers, as every encoder writes them.
    before = encode(SEGMENTATION_RESPONSE, wkt=format_footprint(product.footprint))
    after = encode(SEGMENTATION_RESPONSE, **segmentation_facts(reader, product))
    land_cover = reader.read(product, Asset.LAND_COVER)
    cloud_mask = reader.read(product, Asset.CLOUD_MASK) if selection.cloud_mask else b""
    if not selection.is_whole:
        # Imported here because it loads GDAL, which a server of whole products never needs.
        from earthsignature_grpc.reading.raster_parts import select_cloud_mask, select_land_cover

        land_cover = select_land_cover(land_cover, selection)
        cloud_mask = cloud_mask and select_cloud_mask(cloud_mask, selection)
    parts = [before, *length_delimited(_SEGMENTATION_FIELD, land_cover)]
    if cloud_mask:
        parts += length_delimited(_CLOUD_MASK_FIELD, cloud_mask)
    return b"".join((*parts, after))


def segmentation_facts(reader: ProductReader, product: Product) -> dict[str, object]:
    """Return the fields of a `SegmentationResponse` that follow its rasters."""
    day = _timestamp(acquisition_day(product))
    return {
        "product_id": product.product_id,
        "quicklook": reader.url(product, Asset.THUMBNAIL),
        "product_type": product.product_type,
        "publication_date": day,
        "creation_date": day,
        "cloud_cover": product.cloud_cover_percent,
        "model": str(product.model),
        "item_url": reader.url(product, Asset.ITEM),
    }


def render_product_ids(_: ProductReader, products: Sequence[Product]) -> list[bytes]:
    """Render a `ProductId` for each product; formatting their footprints together takes half the time."""
    footprints = format_footprints([product.footprint for product in products])
    return [_product_id(product, wkt) for product, wkt in zip(products, footprints, strict=True)]


def _product_id(product: Product, wkt: str) -> bytes:
    day = _timestamp(acquisition_day(product))
    return encode(
        _PRODUCT_ID,
        wkt=wkt,
        product_id=product.product_id,
        publication_date=day,
        creation_date=day,
        model=str(product.model),
    )


def acquisition_day(product: Product) -> dt.datetime:
    """Return midnight UTC of the acquisition day, which the service has published as both dates since 2022."""
    return product.sensed_at.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _timestamp(moment: dt.datetime) -> dict[str, int]:
    return {"seconds": int(moment.timestamp())}
