"""Answers of a client in version 3: products with their files, news, class areas, model versions."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_grpc.messages.earthsignature import v3

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PublishedAsset:
    """A file of a product: its name (`land_cover`), file name, media type, size, and SHA-256 in hexadecimal."""

    name: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class PublishedProduct:
    """A Sentinel-2 product classified by a model version.

    Attributes:
        product_id: name of the Sentinel-2 product.
        model: the model version that made it.
        scene: day, relative orbit and tile, such as `2026-05-01_R022_T32TQM`.
        product_type: `S2MSI1C` or `S2MSI2A`.
        sensed_at: time of acquisition, UTC.
        published_at: time of the first publication, UTC.
        footprint: MultiPolygon of the valid pixels, EPSG:4326.
        cloud_cover_percent: 0…100, of the valid area.
        class_codes: CORINE level-3 codes in the raster, ascending.
        digest: name of the content; it changes when the product is republished with different content.
        current: whether clients that choose no model get this product.
        assets: files by name; empty in lists and news.
    """

    product_id: str
    model: str
    scene: str
    product_type: str
    sensed_at: dt.datetime
    published_at: dt.datetime
    footprint: BaseGeometry
    cloud_cover_percent: float
    class_codes: tuple[int, ...]
    digest: str
    current: bool
    assets: dict[str, PublishedAsset]


@dataclass(frozen=True)
class ProductPage:
    """A page of matching products, and the token of the next page; empty after the last page."""

    products: list[PublishedProduct]
    next_page_token: str


@dataclass(frozen=True)
class News:
    """A published product, or None for a heartbeat, and the cursor to resume from."""

    cursor: str
    product: PublishedProduct | None


@dataclass(frozen=True)
class ClassArea:
    """The area of a CORINE class: code, name, square metres, and percent of the observed area."""

    code: int
    name: str
    area_m2: float
    percent: float


@dataclass(frozen=True)
class AreaSummary:
    """The classes of an area, from the newest clear observation of each pixel.

    Attributes:
        first_sensed_at: acquisition of the oldest product used, UTC.
        last_sensed_at: acquisition of the newest one, UTC.
        area_m2: area of the polygon.
        observed_m2: part that was observed without cloud, which is the sum of the classes.
        cloudy_m2: part that was only observed under cloud.
        classes: areas of the classes, largest first.
        product_ids: products used, newest first.
    """

    first_sensed_at: dt.datetime
    last_sensed_at: dt.datetime
    area_m2: float
    observed_m2: float
    cloudy_m2: float
    classes: list[ClassArea]
    product_ids: list[str]


@dataclass(frozen=True)
class ModelEntry:
    """A model version: its number of products, how many of these are current, and its last promotion (UTC)."""

    model: str
    product_count: int
    current_count: int
    promoted_at: dt.datetime | None


def areas_frame(summaries: Iterable[AreaSummary]) -> "pd.DataFrame":
    """Tabulate summaries, one row per class: columns `from`, `to`, `code`, `name`, `area_m2`, `percent`."""
    import pandas as pd

    columns = ["from", "to", "code", "name", "area_m2", "percent"]
    rows = [
        (summary.first_sensed_at, summary.last_sensed_at, entry.code, entry.name, entry.area_m2, entry.percent)
        for summary in summaries
        for entry in summary.classes
    ]
    return pd.DataFrame(rows, columns=columns)


def read_page(content: bytes) -> ProductPage:
    """Read an `earthsignature.v3.ListProductsResponse`.

    Raises:
        ServiceAnswerError: a field is missing or cannot be read; so for all readers of this module.
    """
    answer = v3.ListProductsResponse.parse(content)
    return ProductPage([_product(product) for product in answer.products], answer.next_page_token)


def read_product(content: bytes) -> PublishedProduct:
    """Read an `earthsignature.v3.Product`."""
    return _product(v3.Product.parse(content))


def read_news(content: bytes) -> News:
    """Read an `earthsignature.v3.WatchProductsResponse`."""
    answer = v3.WatchProductsResponse.parse(content)
    return News(answer.cursor, None if answer.product is None else _product(answer.product))


def read_summaries(content: bytes) -> list[AreaSummary]:
    """Read an `earthsignature.v3.SummariseAreaResponse`."""
    return [
        AreaSummary(
            first_sensed_at=_moment(summary.first_sensed_at, "first_sensed_at"),
            last_sensed_at=_moment(summary.last_sensed_at, "last_sensed_at"),
            area_m2=summary.area_m2,
            observed_m2=summary.observed_m2,
            cloudy_m2=summary.cloudy_m2,
            classes=[ClassArea(entry.category, entry.name, entry.area_m2, entry.percent) for entry in summary.classes],
            product_ids=list(summary.product_ids),
        )
        for summary in v3.SummariseAreaResponse.parse(content).summaries
    ]


def read_models(content: bytes) -> list[ModelEntry]:
    """Read an `earthsignature.v3.ListModelsResponse`."""
    return [
        ModelEntry(
            entry.model,
            entry.product_count,
            entry.current_count,
            None if entry.promoted_at is None else entry.promoted_at.astimezone(dt.UTC),
        )
        for entry in v3.ListModelsResponse.parse(content).models
    ]


def _product(message: v3.Product) -> PublishedProduct:
    try:
        footprint = shapely.from_wkt(message.wkt)
    except shapely.errors.ShapelyError as error:
        raise ServiceAnswerError(f"the footprint of {message.product_id} is not WKT: {error}") from error
    return PublishedProduct(
        product_id=message.product_id,
        model=message.model,
        scene=message.scene,
        product_type=message.product_type,
        sensed_at=_moment(message.sensed_at, "sensed_at"),
        published_at=_moment(message.published_at, "published_at"),
        footprint=footprint,
        cloud_cover_percent=message.cloud_cover,
        class_codes=tuple(message.categories),
        digest=message.digest,
        current=message.current,
        assets={
            asset.name: PublishedAsset(asset.name, asset.file_name, asset.media_type, asset.size_bytes, asset.sha256)
            for asset in message.assets
        },
    )


def _moment(moment: dt.datetime | None, field: str) -> dt.datetime:
    if moment is None:
        raise ServiceAnswerError(f"an answer has no {field}")
    return moment.astimezone(dt.UTC)
