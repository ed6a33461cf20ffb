"""Published products as readers see them, and the names of their files."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from shapely.geometry.base import BaseGeometry

from earthsignature_assets.keys import ModelVersion, SceneKey

CONFIDENCE_NO_DATA = 255
"""Confidence of pixels without a class: 0 % is a valid confidence, 255 is not."""

CLOUD_RESOLUTION_M = 20.0


class Asset(StrEnum):
    """The files of a product, by their name inside its folder."""

    LAND_COVER = "land_cover.tif"
    STYLE = "land_cover.qml"
    CONFIDENCE = "confidence.tif"
    CLOUD_MASK = "cloud_mask.tif"
    POLYGONS = "polygons.parquet"
    GEOBUF = "polygons.geobuf"
    THUMBNAIL = "thumbnail.png"
    ITEM = "item.json"


@dataclass(frozen=True)
class Product:
    """One published product: a Sentinel-2 product as one model version classified it.

    Attributes:
        product_id: the Sentinel-2 product name, without `.SAFE`.
        scene: the scene.
        model: the model version.
        product_type: `S2MSI1C` or `S2MSI2A`.
        sensed_at: the acquisition, in UTC.
        published_at: the first publication, in UTC; a re-run keeps it.
        footprint: valid-data footprint in EPSG:4326, a Polygon or MultiPolygon.
        cloud_cover_percent: 0…100, of the valid area.
        class_codes: the CORINE level-3 codes present in the raster, without 0.
        folder: relative POSIX path inside the store, `products/<model>/<scene>/<digest>`.
        current: whether readers who choose neither a name nor a model get this product for its scene. The catalogue
            decides it; `Catalogue.record` ignores the value.
    """

    product_id: str
    scene: SceneKey
    model: ModelVersion
    product_type: str
    sensed_at: dt.datetime
    published_at: dt.datetime
    footprint: BaseGeometry
    cloud_cover_percent: float
    class_codes: frozenset[int]
    folder: str
    current: bool = False
