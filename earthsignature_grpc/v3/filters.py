"""`ProductFilter` as a catalogue query, and as a test of one product."""

import math
from collections.abc import Callable

import shapely

from earthsignature_assets.errors import QueryError
from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_assets.products.product import Product
from earthsignature_grpc.messages.earthsignature.v3 import ProductFilter
from earthsignature_grpc.reading.queries import parse_class_names, product_query


def filter_query(message: ProductFilter | None) -> ProductQuery:
    """Turn a filter into a query; without one, the query matches everything.

    Raises:
        QueryError: a field is invalid.
    """
    message = message or ProductFilter()
    most = message.max_cloud_cover
    if most is not None and not (math.isfinite(most) and 0 <= most <= 100):
        raise QueryError("max_cloud_cover", f"{most} is not a percentage; give 0…100, or leave it out")
    return product_query(
        wkt=message.wkt,
        start_date=message.start_date,
        end_date=message.end_date,
        class_codes=parse_class_names(message.categories),
        model=message.model,
        product_ids=message.product_ids,
        max_cloud_percent=most,
    )


def product_test(query: ProductQuery) -> Callable[[Product], bool]:
    """Make a test of whether a product matches a query, without the catalogue."""
    if query.area is not None:
        shapely.prepare(query.area)

    def matches(product: Product) -> bool:
        return (
            (product.current if query.model is None else product.model == query.model)
            and (query.start is None or product.sensed_at >= query.start)
            and (query.end is None or product.sensed_at <= query.end)
            and (query.product_ids is None or product.product_id in query.product_ids)
            and (not query.class_codes or bool(query.class_codes & product.class_codes))
            and (query.max_cloud_percent is None or product.cloud_cover_percent <= query.max_cloud_percent)
            and (query.area is None or bool(query.area.intersects(product.footprint)))
        )

    return matches
