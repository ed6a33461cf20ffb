"""The Python client: asks an EarthSignature service and returns rasters, polygons and names.

with EarthSignatureClient("localhost:50051") as client:
    for product in client.segmentations_v1(categories=["Coniferous forest"], limit=1):
        classes = product.land_cover_array()
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import shapely
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import (
    CredentialError,
    EarthSignatureError,
    QueryError,
    ServiceAnswerError,
    ServiceUnavailableError,
    UnknownClassError,
)
from earthsignature_assets.nomenclature import class_of, parse_class
from earthsignature_grpc.descriptors import V1, V2
from earthsignature_grpc.messages.snapearth.api import v1, v2

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_OPTIONS = (("grpc.max_receive_message_length", 1 << 30),)
_TRY_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)

_GEOBUF_TAG = b"\x0a"  # field 1, length-delimited

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class ProductName:
    """A product and where it lies.

    Attributes:
        product_id: name of the Sentinel-2 product.
        model: the model version that made it; empty from a service that does not say.
        acquired_on: the day of acquisition, UTC.
        footprint: MultiPolygon of the valid pixels, EPSG:4326.
    """

    product_id: str
    model: str
    acquired_on: dt.date
    footprint: BaseGeometry


@dataclass(frozen=True)
class RasterProduct(ProductName):
    """A product with its rasters.

    Attributes:
        product_type: `S2MSI1C` or `S2MSI2A`.
        cloud_cover_percent: 0…100, of the valid area.
        land_cover: GeoTIFF, uint16 CORINE level-3 codes at 10 m, 0 where there is no data.
        cloud_mask: GeoTIFF, uint8 at 20 m, 1 under cloud.
    """

    product_type: str
    cloud_cover_percent: float
    land_cover: bytes
    cloud_mask: bytes

    def land_cover_array(self) -> "xr.DataArray":
        """The classes as (y, x) uint16 with the tile's UTM grid, 0 where there is no data."""
        return _as_array(self.land_cover)

    def cloud_mask_array(self) -> "xr.DataArray":
        """The cloud mask as (y, x) uint8 with the tile's UTM grid, 1 under cloud."""
        return _as_array(self.cloud_mask)


@dataclass(frozen=True)
class PolygonProduct:
    """A product's polygons, as Geobuf: one `geobufproto.Data` message with a FeatureCollection."""

    geobuf: bytes

    def frame(self) -> "gpd.GeoDataFrame":
        """The polygons with their properties in EPSG:4326; the product's own properties are in `attrs`.

        Raises:
            ServiceAnswerError: the bytes are no Geobuf of polygons.
        """
        from earthsignature_grpc.geobuf import read_frame

        return read_frame(self.geobuf)


class EarthSignatureClient:
    """Calls one EarthSignature service over one channel; threads may share it.

    Each method streams: it yields a product as soon as it has arrived. All filters are optional and combine:

    - area: any polygonal shapely geometry or WKT, EPSG:4326; products that intersect it;
    - start, end: bounds of the acquisition, inclusive; days, or moments with a time zone. A day as `end` is whole;
    - product_ids: Sentinel-2 product names; unknown ones match nothing;
    - categories: CORINE level-3 codes or official names; products that contain any of them;
    - limit: at most this many, and never more than 500;
    - model: a model version such as `corine-unet-v1`; by default the current one of each product.

    Every method raises:
        QueryError: the service, or the client before it, refuses a field; `field` and `remedy` say which and why.
        ServiceUnavailableError: no answer, not in time, or the service is busy: try again later.
        ServiceAnswerError: any other status, or an answer that cannot be read.
    """

    def __init__(self, target: str = "localhost:50051", *, timeout_s: float = 600.0) -> None:
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._target = target
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; streams under way end."""
        self._channel.close()

    def segmentations_v1(
        self,
        *,
        area: BaseGeometry | str | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        product_ids: Iterable[str] = (),
        categories: Iterable[int | str] = (),
        limit: int | None = None,
        model: str | None = None,
    ) -> Iterator[RasterProduct]:
        """The products that match with their rasters, newest first."""
        request = v1.ListSegmentationRequest(
            **_filters(area, start, end, model),
            product_ids=list(product_ids),
            categories=[str(category) for category in categories],
            n_results=limit,
        )
        return self._stream(f"/{V1}/ListSegmentation", bytes(request), _raster_product)

    def polygons_v2(
        self,
        *,
        area: BaseGeometry | str | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        product_ids: Iterable[str] = (),
        categories: Iterable[int | str] = (),
        limit: int | None = None,
        model: str | None = None,
    ) -> Iterator[PolygonProduct]:
        """The polygons of the products that match, newest first."""
        request = v2.ListSegmentationRequest(
            **_filters(area, start, end, model),
            product_ids=list(product_ids),
            categories=_codes(categories),
            n_results=limit,
        )
        return self._stream(f"/{V2}/ListSegmentation", bytes(request), _polygon_product)

    def product_ids(
        self,
        *,
        area: BaseGeometry | str | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        categories: Iterable[int | str] = (),
        model: str | None = None,
    ) -> Iterator[ProductName]:
        """The names and footprints of all products that match, newest first."""
        request = v1.ListProductIdsRequest(
            **_filters(area, start, end, model), categories=[str(category) for category in categories]
        )
        return self._stream(f"/{V1}/ListProductIds", bytes(request), _product_name)

    def product_features_v2(
        self,
        *,
        area: BaseGeometry | str | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        categories: Iterable[int | str] = (),
        model: str | None = None,
    ) -> Iterator[PolygonProduct]:
        """The footprints of all products that match as Geobuf, one feature each, newest first."""
        request = v2.ListProductIdsRequest(**_filters(area, start, end, model), categories=_codes(categories))
        return self._stream(f"/{V2}/ListProductIds", bytes(request), _polygon_product)

    def _stream(self, method: str, request: bytes, read: Callable[[bytes], AnswerT]) -> Iterator[AnswerT]:
        send: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(method)
        call = send(request, timeout=self._timeout_s)
        try:
            for answer in call:
                yield read(answer)
        except grpc.RpcError as error:
            raise _typed(error, self._target) from error
        finally:
            call.cancel()  # a reader that stops early frees the server


def _filters(
    area: BaseGeometry | str | None, start: dt.date | None, end: dt.date | None, model: str | None
) -> dict[str, Any]:
    return {
        "wkt": area.wkt if isinstance(area, BaseGeometry) else area,
        "start_date": _moment("start", start),
        "end_date": _moment("end", end),
        "model": model,
    }


def _moment(field: str, day: dt.date | None) -> dt.datetime | None:
    if day is None:
        return None
    if not isinstance(day, dt.datetime):
        return dt.datetime.combine(day, dt.time(), dt.UTC)
    if day.tzinfo is None:
        raise QueryError(field, f"{day} has no time zone; give UTC, or a date")
    return day


def _codes(categories: Iterable[int | str]) -> list[int]:
    try:
        return [class_of(entry).code if isinstance(entry, int) else parse_class(entry).code for entry in categories]
    except UnknownClassError as error:
        raise QueryError("categories", str(error)) from error


def _product_name(content: bytes) -> ProductName:
    answer = v1.ProductId.parse(content)
    return ProductName(answer.product_id, answer.model, _day(answer.creation_date), shapely.from_wkt(answer.wkt))


def _raster_product(content: bytes) -> RasterProduct:
    answer = v1.SegmentationResponse.parse(content)
    return RasterProduct(
        product_id=answer.product_id,
        model=answer.model,
        acquired_on=_day(answer.creation_date),
        footprint=shapely.from_wkt(answer.wkt),
        product_type=answer.product_type,
        cloud_cover_percent=answer.cloud_cover,
        land_cover=answer.segmentation,
        cloud_mask=answer.cloud_mask,
    )


def _polygon_product(content: bytes) -> PolygonProduct:
    # Cut out rather than decoded: a dense product has millions of numbers, and whoever wants them reads the Geobuf.
    length, position, shift = 0, 1, 0
    while content[:1] == _GEOBUF_TAG and position < len(content):
        byte = content[position]
        length |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80 and position + length <= len(content):
            return PolygonProduct(content[position : position + length])
        if byte < 0x80:
            break
    raise ServiceAnswerError(f"an answer of {len(content)} bytes is no snapearth.api.v2.SegmentationResponse")


def _day(moment: dt.datetime | None) -> dt.date:
    if moment is None:
        raise ServiceAnswerError("an answer has no creation_date")
    return moment.astimezone(dt.UTC).date()


def _as_array(content: bytes) -> "xr.DataArray":
    import rasterio
    import rioxarray
    import xarray as xr

    with rasterio.MemoryFile(content) as file, file.open() as raster:
        bands = rioxarray.open_rasterio(raster)
        if not isinstance(bands, xr.DataArray):
            raise ServiceAnswerError("a raster of an answer has several data sets; expected one band")
        return bands.squeeze("band", drop=True).load()


def _typed(error: grpc.RpcError, target: str) -> EarthSignatureError:
    if not isinstance(error, grpc.Call):
        return ServiceUnavailableError(f"{target}: {error}; try again later")
    code, message = error.code(), error.details() or "no message"
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        detail = error_details_pb2.BadRequest()
        if packed.Unpack(detail) and detail.field_violations:
            return QueryError(detail.field_violations[0].field, detail.field_violations[0].description)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return CredentialError(message)
    if code in _TRY_AGAIN:
        return ServiceUnavailableError(f"{target}: {message} ({code.name}); try again later")
    return ServiceAnswerError(f"{target}: {message} ({code.name})")
