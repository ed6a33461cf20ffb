"""Answers of a client in versions 1 and 2, read from the messages of the service."""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_grpc.messages.snapearth.api import v1

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_GEOBUF_TAG = b"\x0a"  # field 1, length-delimited


@dataclass(frozen=True)
class ProductName:
    """A product's name and footprint.

    Attributes:
        product_id: name of the Sentinel-2 product.
        model: the model version that made it; empty if the service does not send it.
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
        land_cover: GeoTIFF of uint16 CORINE level-3 codes, at 10 m by default; 0 where there is no data.
        cloud_mask: GeoTIFF, uint8 at 20 m, 1 under cloud; empty if requested without.
        item_url: URL of the STAC item; empty if the service publishes none.
    """

    product_type: str
    cloud_cover_percent: float
    land_cover: bytes
    cloud_mask: bytes
    item_url: str = ""

    def land_cover_array(self) -> "xr.DataArray":
        """Open the classes as (y, x) uint16 on the tile's UTM grid, 0 where there is no data.

        The attributes `flag_values`, `flag_meanings` and `flag_colors` describe the classes.

        Raises:
            ServiceAnswerError: the bytes are not such a raster; so for the two methods below.
        """
        from earthsignature_grpc.client.raster_arrays import land_cover_array

        return land_cover_array(self.land_cover)

    def cloud_mask_array(self) -> "xr.DataArray":
        """Open the cloud mask as (y, x) uint8 on the tile's UTM grid, 1 under cloud."""
        from earthsignature_grpc.client.raster_arrays import cloud_mask_array

        return cloud_mask_array(self.cloud_mask)

    def dataset(self) -> "xr.Dataset":
        """Open the classes, and the cloud mask if present, on the grid of the classes; attributes hold the facts."""
        from earthsignature_grpc.client.raster_arrays import land_cover_dataset

        return land_cover_dataset(self.land_cover, self.cloud_mask).assign_attrs(
            product_id=self.product_id,
            model=self.model,
            acquired_on=self.acquired_on.isoformat(),
            cloud_cover_percent=self.cloud_cover_percent,
        )


@dataclass(frozen=True)
class PolygonProduct:
    """A product's polygons as Geobuf: one `geobufproto.Data` message with a FeatureCollection."""

    geobuf: bytes

    def frame(self) -> "gpd.GeoDataFrame":
        """Read the polygons and their properties, in EPSG:4326; properties of the product go to `attrs`.

        Raises:
            ServiceAnswerError: the bytes are not a Geobuf of polygons.
        """
        from earthsignature_grpc.wire.geobuf_reader import read_frame

        return read_frame(self.geobuf)


def read_product_name(content: bytes) -> ProductName:
    """Read a `snapearth.api.v1.ProductId`.

    Raises:
        ServiceAnswerError: a field is missing or cannot be read; so for all readers of this module.
    """
    answer = v1.ProductId.parse(content)
    return ProductName(answer.product_id, answer.model, _day(answer.creation_date), _footprint(answer.wkt))


def read_raster_product(content: bytes) -> RasterProduct:
    """Read a `snapearth.api.v1.SegmentationResponse`."""
    answer = v1.SegmentationResponse.parse(content)
    return RasterProduct(
        product_id=answer.product_id,
        model=answer.model,
        acquired_on=_day(answer.creation_date),
        footprint=_footprint(answer.wkt),
        product_type=answer.product_type,
        cloud_cover_percent=answer.cloud_cover,
        land_cover=answer.segmentation,
        cloud_mask=answer.cloud_mask,
        item_url=answer.item_url,
    )


def read_polygon_product(content: bytes) -> PolygonProduct:
    """Cut the Geobuf out of a `snapearth.api.v2.SegmentationResponse`.

    The Geobuf is not decoded: a dense product has millions of coordinates, and `PolygonProduct.frame` reads them.
    """
    length, position, shift = 0, 1, 0
    while content[:1] == _GEOBUF_TAG and position < len(content):
        byte = content[position]
        length |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80 and position + length <= len(content):
            return PolygonProduct(content[position : position + length])
        if byte < 0x80:
            break
    raise ServiceAnswerError(f"an answer of {len(content)} bytes is not a snapearth.api.v2.SegmentationResponse")


def _footprint(wkt: str) -> BaseGeometry:
    try:
        return shapely.from_wkt(wkt)
    except shapely.errors.ShapelyError as error:
        raise ServiceAnswerError(f"the footprint of an answer is not WKT: {error}") from error


def _day(moment: dt.datetime | None) -> dt.date:
    if moment is None:
        raise ServiceAnswerError("an answer has no creation_date")
    return moment.astimezone(dt.UTC).date()
