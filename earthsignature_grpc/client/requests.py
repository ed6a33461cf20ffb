"""Filters and the calls made from them: the requests of both clients, and the readers of the responses."""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar

from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError, UnknownClassError
from earthsignature_assets.nomenclature import class_of, parse_class
from earthsignature_grpc.client.answers import (
    PolygonProduct,
    ProductName,
    RasterProduct,
    read_polygon_product,
    read_product_name,
    read_raster_product,
)
from earthsignature_grpc.client.listing import (
    AreaSummary,
    ModelEntry,
    News,
    ProductPage,
    PublishedProduct,
    read_models,
    read_news,
    read_page,
    read_product,
    read_summaries,
)
from earthsignature_grpc.messages.earthsignature import v3
from earthsignature_grpc.messages.snapearth.api import v1, v2
from earthsignature_grpc.wire.descriptors import V1, V2, V3

AnswerT = TypeVar("AnswerT", covariant=True)


class ProductFilters(TypedDict, total=False):
    """Filters of products. All are optional and combine.

    Attributes:
        area: polygonal shapely geometry or WKT, EPSG:4326; selects products that intersect it.
        start: earliest acquisition, inclusive: a day, or a time with a time zone.
        end: latest acquisition, inclusive; a day counts as a whole.
        categories: CORINE level-3 codes or official names; selects products that contain any of them.
        model: a model version such as `corine-unet-v1`; by default the current one of each product.
    """

    area: BaseGeometry | str | None
    start: dt.date | None
    end: dt.date | None
    categories: Iterable[int | str]
    model: str | None


class SegmentationFilters(ProductFilters, total=False):
    """Filters of products to fetch whole.

    Attributes:
        product_ids: Sentinel-2 product names; unknown names match nothing.
        limit: maximum number of products; at most 500, which is the default.
    """

    product_ids: Iterable[str]
    limit: int | None


class RasterOptions(SegmentationFilters, total=False):
    """Filters and options of rasters to fetch.

    Attributes:
        crop: whether to crop the rasters to `area`; the land cover is 0 where the area does not touch a pixel.
        resolution_m: pixel size of the land cover: 10, 20, 30, 60, 90, 100, 180, 300 or 600; a coarser pixel gets
            the most frequent class of those it covers.
        without_cloud_mask: whether to leave the cloud mask out.
    """

    crop: bool
    resolution_m: int
    without_cloud_mask: bool


class PolygonOptions(SegmentationFilters, total=False):
    """Filters and options of polygons to fetch.

    Attributes:
        min_area_m2: smaller polygons are left out.
        tolerance_m: border corners whose triangle is at most this value squared, in m², are left out; at most 1000.
        polygon_categories: CORINE level-3 codes or official names of the polygons to fetch.
    """

    min_area_m2: float
    tolerance_m: float
    polygon_categories: Iterable[int | str]


class ListFilters(ProductFilters, total=False):
    """Filters of products to list or to watch.

    Attributes:
        product_ids: Sentinel-2 product names; unknown names match nothing.
        max_cloud_percent: maximum cloud cover of the valid area, inclusive.
    """

    product_ids: Iterable[str]
    max_cloud_percent: float | None


class SummaryFilters(TypedDict, total=False):
    """Filters of the observations to summarise; as in `ProductFilters`."""

    start: dt.date | None
    end: dt.date | None
    model: str | None


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """A call to make: its method, `/package.Service/Method`, its request, and the reader of each response."""

    method: str
    request: bytes
    read: Callable[[bytes], AnswerT]


def segmentations_v1(filters: RasterOptions) -> Call[RasterProduct]:
    """Make the call `ListSegmentation` of version 1.

    Raises:
        QueryError: a filter is invalid; so for all functions of this module.
    """
    request = v1.ListSegmentationRequest(
        **common_fields(filters),
        product_ids=list(filters.get("product_ids", ())),
        categories=[str(category) for category in filters.get("categories", ())],
        n_results=filters.get("limit"),
        crop=filters.get("crop"),
        resolution_m=filters.get("resolution_m"),
        without_cloud_mask=filters.get("without_cloud_mask"),
    )
    return Call(f"/{V1}/ListSegmentation", bytes(request), read_raster_product)


def polygons_v2(filters: PolygonOptions) -> Call[PolygonProduct]:
    """Make the call `ListSegmentation` of version 2."""
    request = v2.ListSegmentationRequest(
        **common_fields(filters),
        product_ids=list(filters.get("product_ids", ())),
        categories=class_codes("categories", filters.get("categories", ())),
        n_results=filters.get("limit"),
        min_area_m2=filters.get("min_area_m2"),
        tolerance_m=filters.get("tolerance_m"),
        polygon_categories=class_codes("polygon_categories", filters.get("polygon_categories", ())),
    )
    return Call(f"/{V2}/ListSegmentation", bytes(request), read_polygon_product)


def product_ids(filters: ProductFilters) -> Call[ProductName]:
    """Make the call `ListProductIds` of version 1."""
    categories = [str(category) for category in filters.get("categories", ())]
    request = v1.ListProductIdsRequest(**common_fields(filters), categories=categories)
    return Call(f"/{V1}/ListProductIds", bytes(request), read_product_name)


def product_features_v2(filters: ProductFilters) -> Call[PolygonProduct]:
    """Make the call `ListProductIds` of version 2."""
    request = v2.ListProductIdsRequest(
        **common_fields(filters), categories=class_codes("categories", filters.get("categories", ()))
    )
    return Call(f"/{V2}/ListProductIds", bytes(request), read_polygon_product)


def list_products(filters: ListFilters, page_size: int, page_token: str, oldest_first: bool) -> Call[ProductPage]:
    """Make the call `ListProducts` for one page."""
    request = v3.ListProductsRequest(
        filter=_list_filter(filters),
        page_size=page_size,
        page_token=page_token,
        order_by="sensed_at" if oldest_first else "",
    )
    return Call(f"/{V3}/ListProducts", bytes(request), read_page)


def get_product(product_id: str, model: str | None) -> Call[PublishedProduct]:
    """Make the call `GetProduct`."""
    request = v3.GetProductRequest(product_id=product_id, model=model or "")
    return Call(f"/{V3}/GetProduct", bytes(request), read_product)


def download_asset(product_id: str, model: str | None, asset: str, digest: str, offset: int) -> Call[bytes]:
    """Make the call `DownloadAsset` from an offset; `client.downloads` reads the responses."""
    request = v3.DownloadAssetRequest(
        product_id=product_id, model=model or "", asset=asset, digest=digest, offset=offset
    )
    return Call(f"/{V3}/DownloadAsset", bytes(request), bytes)


def watch_products(filters: ListFilters, cursor: str, from_beginning: bool, heartbeat_s: int) -> Call[News]:
    """Make the call `WatchProducts`."""
    request = v3.WatchProductsRequest(
        filter=_list_filter(filters),
        cursor=cursor,
        from_beginning=from_beginning and not cursor,
        heartbeat_seconds=heartbeat_s,
    )
    return Call(f"/{V3}/WatchProducts", bytes(request), read_news)


def summarise_area(area: BaseGeometry | str, interval: str | None, filters: SummaryFilters) -> Call[list[AreaSummary]]:
    """Make the call `SummariseArea`."""
    try:
        wanted = _INTERVALS[interval]
    except KeyError:
        raise QueryError("interval", f"{interval!r} is unknown; give 'day', 'month', 'year' or None") from None
    request = v3.SummariseAreaRequest(
        wkt=area.wkt if isinstance(area, BaseGeometry) else area,
        start_date=_moment("start", filters.get("start")),
        end_date=_moment("end", filters.get("end")),
        model=filters.get("model") or "",
        interval=wanted,
    )
    return Call(f"/{V3}/SummariseArea", bytes(request), read_summaries)


def list_models() -> Call[list[ModelEntry]]:
    """Make the call `ListModels`."""
    return Call(f"/{V3}/ListModels", b"", read_models)


_INTERVALS = {
    None: v3.Interval.UNSPECIFIED,
    "day": v3.Interval.DAY,
    "month": v3.Interval.MONTH,
    "year": v3.Interval.YEAR,
}


def _list_filter(filters: ListFilters) -> v3.ProductFilter:
    common = common_fields(filters)
    return v3.ProductFilter(
        wkt=common["wkt"] or "",
        start_date=common["start_date"],
        end_date=common["end_date"],
        model=common["model"] or "",
        categories=[str(category) for category in filters.get("categories", ())],
        product_ids=list(filters.get("product_ids", ())),
        max_cloud_cover=filters.get("max_cloud_percent"),
    )


def common_fields(filters: ProductFilters) -> dict[str, Any]:
    """Return the fields that have the same names in all requests."""
    area = filters.get("area")
    return {
        "wkt": area.wkt if isinstance(area, BaseGeometry) else area,
        "start_date": _moment("start", filters.get("start")),
        "end_date": _moment("end", filters.get("end")),
        "model": filters.get("model"),
    }


def class_codes(field: str, classes: Iterable[int | str]) -> list[int]:
    """Convert classes to CORINE codes; a refusal names `field`."""
    try:
        return [class_of(entry).code if isinstance(entry, int) else parse_class(entry).code for entry in classes]
    except UnknownClassError as error:
        raise QueryError(field, str(error)) from error


def _moment(field: str, day: dt.date | None) -> dt.datetime | None:
    if day is None:
        return None
    if not isinstance(day, dt.datetime):
        return dt.datetime.combine(day, dt.time(), dt.UTC)
    if day.tzinfo is None:
        raise QueryError(field, f"{day} has no time zone; give UTC, or a date")
    return day
