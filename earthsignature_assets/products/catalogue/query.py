"""Queries of the catalogue, and the order of their results."""

import datetime as dt
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.nomenclature import class_mask
from earthsignature_assets.products.product import Product


@dataclass(frozen=True)
class Position:
    """The position of one product in an order of products: its acquisition and its name."""

    sensed_at: dt.datetime
    product_id: str

    @classmethod
    def of(cls, product: Product) -> "Position":
        """Return the position of a product."""
        return cls(product.sensed_at, product.product_id)


@dataclass(frozen=True)
class ProductQuery:
    """Conditions on the products to find; an omitted condition does not restrict.

    Without `product_ids`, a query finds only the highest baseline of a scene by the model version. With them, it finds
    superseded processings as well.

    Attributes:
        area: any geometry in EPSG:4326 that the footprint must intersect. An empty one matches nothing.
        start: earliest acquisition, inclusive, with a time zone.
        end: latest acquisition, inclusive, with a time zone.
        product_ids: Sentinel-2 product names; unknown ones match nothing.
        class_codes: CORINE level-3 codes, of which the product has at least one. Empty does not restrict.
        model: the model version; None takes the current one of each scene, or of each named product.
        limit: largest number of products.
        max_cloud_percent: largest cloud cover of the valid area, inclusive.
        oldest_first: whether to reverse the order.
        after: position after which results start, in the query's own order, for the next page.

    Raises:
        QueryError: `start` is after `end`, a time lacks its zone, or `limit` is negative.
        UnknownClassError: a code is none of the 44.
    """

    area: BaseGeometry | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    product_ids: frozenset[str] | None = None
    class_codes: frozenset[int] = frozenset()
    model: ModelVersion | None = None
    limit: int | None = None
    max_cloud_percent: float | None = None
    oldest_first: bool = False
    after: Position | None = None

    def __post_init__(self) -> None:
        after = None if self.after is None else self.after.sensed_at
        bounds = {"start": self.start, "end": self.end, "after": after}
        for field, moment in bounds.items():
            if moment is not None and moment.tzinfo is None:
                raise QueryError(field, f"{moment} has no time zone; give UTC")
        if self.start is not None and self.end is not None and self.start > self.end:
            raise QueryError("start", f"{self.start} is after the end {self.end}; swap them")
        if self.limit is not None and self.limit < 0:
            raise QueryError("limit", f"{self.limit} is negative; give 0 or more, or leave it out")
        class_mask(self.class_codes)
