"""From filters to calls: what both clients send, and how they read what comes back."""

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
    """Which products to find. All are optional and combine.

    Attributes:
        area: any polygonal shapely geometry or WKT, EPSG:4326; products that intersect it.
        start: earliest acquisition, inclusive: a day, or a moment with a time zone.
        end: latest acquisition, inclusive; a day is whole.
        categories: CORINE level-3 codes or official names; products that contain any of them.
        model: a model version such as `corine-unet-v1`; by default the current one of each product.
    """

    area: BaseGeometry | str | None
    start: dt.date | None
    end: dt.date | None
    categories: Iterable[int | str]
    model: str | None


class SegmentationFilters(ProductFilters, total=False):
    """Which products to fetch whole.

    Attributes:
        product_ids: Sentinel-2 product names; unknown ones match nothing.
        limit: at most this many, and never more than 500.
    """

    product_ids: Iterable[str]
    limit: int | None


class RasterOptions(SegmentationFilters, total=False):
    """What to fetch of rasters, besides which.

    Attributes:
        crop: rasters end around `area`, and the land cover is 0 where the area does not touch a pixel.
        resolution_m: pixel size of the land cover: 10, 20, 30, 60, 90, 100, 180, 300 or 600; a coarser pixel has the
            most frequent class of those it covers.
        without_cloud_mask: leave the cloud mask empty.
    """

    crop: bool
    resolution_m: int
    without_cloud_mask: bool


class PolygonOptions(SegmentationFilters, total=False):
    """What to fetch of polygons, besides of which products.

    Attributes:
        min_area_m2: polygons below are left out.
        tolerance_m: borders lose the corners whose triangle is at most this squared, up to 1000.
        polygon_categories: CORINE level-3 codes or official names of the polygons to send.
    """

    min_area_m2: float
    tolerance_m: float
    polygon_categories: Iterable[int | str]


class ListFilters(ProductFilters, total=False):
    """Which products to list or to be told of.

    Attributes:
        product_ids: Sentinel-2 product names; unknown ones match nothing.
        max_cloud_percent: most cloud over the valid area, inclusive.
    """

    product_ids: Iterable[str]
    max_cloud_percent: float | None


class SummaryFilters(TypedDict, total=False):
    """Which observations of an area to sum up; as in `ProductFilters`."""

    start: dt.date | None
    end: dt.date | None
    model: str | None


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """One call to make: its method, `/package.Service/Method`, its request, and the reader of each response."""

    method: str
    request: bytes
    read: Callable[[bytes], AnswerT]


def segmentations_v1(filters: RasterOptions) -> Call[RasterProduct]:
    """`ListSegmentation` of version 1.

    Raises:
        QueryError: a filter cannot be sent as it is; so for all functions of this module.
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
    """`ListSegmentation` of version 2."""
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
    """`ListProductIds` of version 1."""
    categories = [str(category) for category in filters.get("categories", ())]
    request = v1.ListProductIdsRequest(**common_fields(filters), categories=categories)
    return Call(f"/{V1}/ListProductIds", bytes(request), read_product_name)


def product_features_v2(filters: ProductFilters) -> Call[PolygonProduct]:
    """`ListProductIds` of version 2."""
    request = v2.ListProductIdsRequest(
        **common_fields(filters), categories=class_codes("categories", filters.get("categories", ()))
    )
    return Call(f"/{V2}/ListProductIds", bytes(request), read_polygon_product)


def list_products(filters: ListFilters, page_size: int, page_token: str, oldest_first: bool) -> Call[ProductPage]:
    """`ListProducts`: one page."""
    request = v3.ListProductsRequest(
        filter=_list_filter(filters),
        page_size=page_size,
        page_token=page_token,
        order_by="sensed_at" if oldest_first else "",
    )
    return Call(f"/{V3}/ListProducts", bytes(request), read_page)


def get_product(product_id: str, model: str | None) -> Call[PublishedProduct]:
    """`GetProduct`."""
    request = v3.GetProductRequest(product_id=product_id, model=model or "")
    return Call(f"/{V3}/GetProduct", bytes(request), read_product)


def download_asset(product_id: str, model: str | None, asset: str, digest: str, offset: int) -> Call[bytes]:
    """`DownloadAsset`, from a byte on; `client.downloads` reads the responses."""
    request = v3.DownloadAssetRequest(
        product_id=product_id, model=model or "", asset=asset, digest=digest, offset=offset
    )
    return Call(f"/{V3}/DownloadAsset", bytes(request), bytes)


def watch_products(filters: ListFilters, cursor: str, from_beginning: bool, heartbeat_s: int) -> Call[News]:
    """`WatchProducts`."""
    request = v3.WatchProductsRequest(
        filter=_list_filter(filters),
        cursor=cursor,
        from_beginning=from_beginning and not cursor,
        heartbeat_seconds=heartbeat_s,
    )
    return Call(f"/{V3}/WatchProducts", bytes(request), read_news)


def summarise_area(area: BaseGeometry | str, interval: str | None, filters: SummaryFilters) -> Call[list[AreaSummary]]:
    """`SummariseArea`."""
    try:
        wanted = _INTERVALS[interval]
    except KeyError:
        raise QueryError("interval", f"{interval!r} is no interval; give 'day', 'month', 'year' or None") from None
    request = v3.SummariseAreaRequest(
        wkt=area.wkt if isinstance(area, BaseGeometry) else area,
        start_date=_moment("start", filters.get("start")),
        end_date=_moment("end", filters.get("end")),
        model=filters.get("model") or "",
        interval=wanted,
    )
    return Call(f"/{V3}/SummariseArea", bytes(request), read_summaries)


def list_models() -> Call[list[ModelEntry]]:
    """`ListModels`."""
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
    """The fields that all requests call the same."""
    area = filters.get("area")
    return {
        "wkt": area.wkt if isinstance(area, BaseGeometry) else area,
        "start_date": _moment("start", filters.get("start")),
        "end_date": _moment("end", filters.get("end")),
        "model": filters.get("model"),
    }


def class_codes(field: str, classes: Iterable[int | str]) -> list[int]:
    """Classes as CORINE codes; `field` is what a refusal names."""
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
