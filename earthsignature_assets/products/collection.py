"""The STAC collection of the published products."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.products.item import COLLECTION, extension_schemas, item_assets
from earthsignature_assets.products.product import Product

_FIRST_IMAGE = dt.datetime(2015, 6, 27, tzinfo=dt.UTC)
_EUROPE = (-25.0, 34.0, 45.0, 72.0)
_STAC_LICENCE = "other"
# Only for the collection's own fields: the schemas of eo and raster refuse a collection without their fields.
_EXTENSIONS = extension_schemas("classification/v2.0.0", "processing/v1.2.0")


@dataclass
class Extent:
    """Extent of the included products in space and time; initially Europe since the first Sentinel-2 image."""

    west: float = 180.0
    south: float = 90.0
    east: float = -180.0
    north: float = -90.0
    first: dt.datetime | None = None
    last: dt.datetime | None = None

    def include(self, product: Product) -> None:
        """Widen the extent to a product."""
        west, south, east, north = product.footprint.bounds
        self.west, self.south = min(self.west, west), min(self.south, south)
        self.east, self.north = max(self.east, east), max(self.north, north)
        self.first = min(self.first or product.sensed_at, product.sensed_at)
        self.last = max(self.last or product.sensed_at, product.sensed_at)

    def to_json(self) -> dict[str, Any]:
        """Return the extent as STAC expresses it."""
        box = (self.west, self.south, self.east, self.north) if self.first else _EUROPE
        interval = [_rfc3339(self.first or _FIRST_IMAGE), _rfc3339(self.last) if self.last else None]
        return {"spatial": {"bbox": [list(box)]}, "temporal": {"interval": [interval]}}


def build_collection(extent: Extent, links: list[dict[str, Any]]) -> dict[str, Any]:
    """Build the STAC 1.1 collection as plain JSON values."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [*_EXTENSIONS],
        "id": COLLECTION,
        "title": "CORINE land cover from Sentinel-2",
        "description": (
            "Land cover of single Sentinel-2 images over Europe in the classes of CORINE Land Cover, by a neural "
            "network: rasters at 10 m and polygons of one product are one item."
        ),
        "keywords": ["land cover", "CORINE", "Sentinel-2", "Europe"],
        "license": _STAC_LICENCE,
        "providers": [
            {
                "name": "EarthSignature",
                "roles": ["processor", "licensor"],
                "description": "Contains modified Copernicus Sentinel data.",
            },
            {"name": "ESA", "roles": ["producer"], "url": "https://sentinels.copernicus.eu"},
        ],
        "extent": extent.to_json(),
        "summaries": {
            "platform": ["sentinel-2a", "sentinel-2b", "sentinel-2c"],
            "instruments": ["msi"],
            "gsd": [10.0],
            "processing:level": ["L4"],
        },
        "item_assets": item_assets(),
        "links": links,
    }


def _rfc3339(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
