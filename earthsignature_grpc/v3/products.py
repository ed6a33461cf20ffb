"""`ListProducts` and `GetProduct`: pages of products, and one product with its files."""

import datetime as dt
from dataclasses import replace
from typing import Any

from earthsignature_assets.errors import NoSuchProductError, QueryError
from earthsignature_assets.products.catalogue.query import Position
from earthsignature_assets.products.product import Product
from earthsignature_grpc.messages.earthsignature.v3 import GetProductRequest, ListProductsRequest
from earthsignature_grpc.reading.areas import format_footprint
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.reading.queries import parse_model
from earthsignature_grpc.v3.assets import described_assets
from earthsignature_grpc.v3.filters import filter_query
from earthsignature_grpc.v3.page_tokens import fingerprint, page_token, parse_page_token
from earthsignature_grpc.wire.strict_decoding import decode_request, encode

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000

_NEWEST_FIRST, _OLDEST_FIRST = "sensed_at desc", "sensed_at"


def list_products(reader: ProductReader, content: bytes) -> bytes:
    """Answer a `ListProductsRequest`.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
        StoreUnavailableError: the catalogue cannot be read.
    """
    request = decode_request(content, ListProductsRequest, "earthsignature.v3.ListProductsRequest")
    size = _page_size(request.page_size)
    order = " ".join(request.order_by.split()) or _NEWEST_FIRST
    if order not in (_NEWEST_FIRST, _OLDEST_FIRST):
        raise QueryError("order_by", f"{request.order_by!r} is unknown; give {_NEWEST_FIRST!r} or {_OLDEST_FIRST!r}")
    list_fingerprint = fingerprint(bytes(request.filter) if request.filter else b"", order.encode())
    # One product more than the page holds shows whether there is another page.
    query = replace(
        filter_query(request.filter),
        oldest_first=order == _OLDEST_FIRST,
        after=parse_page_token(request.page_token, list_fingerprint) if request.page_token else None,
        limit=size + 1,
    )
    found = list(reader.search(query))
    page, more = found[:size], len(found) > size
    return encode(
        "earthsignature.v3.ListProductsResponse",
        products=[product_fields(product) for product in page],
        next_page_token=page_token(list_fingerprint, Position.of(page[-1])) if more else "",
    )


def get_product(reader: ProductReader, content: bytes) -> bytes:
    """Answer a `GetProductRequest` with a `Product`.

    Raises:
        QueryError: the bytes are malformed or a field is invalid.
        NoSuchProductError: there is no such product.
        StoreUnavailableError: the catalogue or the store cannot be read.
    """
    request = decode_request(content, GetProductRequest, "earthsignature.v3.GetProductRequest")
    product = named_product(reader, request.product_id, request.model)
    return encode("earthsignature.v3.Product", **product_fields(product), assets=described_assets(reader, product))


def named_product(reader: ProductReader, product_id: str, model: str) -> Product:
    """Find the product of a name and model version; an empty model means the current product.

    Raises:
        QueryError: the name is empty, or the model cannot be parsed.
        NoSuchProductError: there is no such product.
        StoreUnavailableError: the catalogue cannot be read.
    """
    if not product_id:
        raise QueryError("product_id", "is empty; give the name of a Sentinel-2 product, as ListProducts does")
    name = product_id.removesuffix(".SAFE")
    product = reader.catalogue().find(name, parse_model(model) if model else None)
    if product is None:
        by = f" by {model}" if model else ""
        raise NoSuchProductError(f"there is no product {product_id!r}{by}; ListProducts lists the existing ones")
    return product


def product_fields(product: Product) -> dict[str, Any]:
    """Return the fields of a `Product` message, without its assets."""
    return {
        "product_id": product.product_id,
        "model": str(product.model),
        "scene": str(product.scene),
        "product_type": product.product_type,
        "sensed_at": timestamp(product.sensed_at),
        "published_at": timestamp(product.published_at),
        "wkt": format_footprint(product.footprint),
        "cloud_cover": product.cloud_cover_percent,
        "categories": sorted(product.class_codes),
        "digest": digest_of(product),
        "current": product.current,
    }


def digest_of(product: Product) -> str:
    """Return the digest of the product's content: the name of its folder in the store."""
    return product.folder.rpartition("/")[2]


def timestamp(moment: dt.datetime) -> dict[str, int]:
    """Return the fields of a `google.protobuf.Timestamp`."""
    # Nanoseconds come from the microseconds: as a float, today's seconds are exact only to a quarter of a microsecond.
    whole = moment.replace(microsecond=0)
    return {"seconds": int(whole.timestamp()), "nanos": 1000 * moment.microsecond}


def _page_size(requested: int) -> int:
    if requested < 0:
        raise QueryError("page_size", f"{requested} is negative; give 1…{MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}")
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
