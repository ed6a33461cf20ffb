"""The STAC item of a product: its properties, its files, and their checksums.

The item is also the product's manifest: it holds the SHA-256 and size of every other file, and a digest of the item
itself names the product's folder.
"""

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import shapely

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.nomenclature import CLASSES, NO_DATA
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, CONFIDENCE_NO_DATA, Asset

_MULTIHASH_SHA256 = "1220"
MEDIA_TYPES = {
    Asset.LAND_COVER: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.STYLE: "text/xml",
    Asset.CONFIDENCE: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.CLOUD_MASK: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.POLYGONS: "application/vnd.apache.parquet",
    Asset.GEOBUF: "application/geobuf",
    Asset.THUMBNAIL: "image/png",
    Asset.ITEM: "application/geo+json",
}

# Raster 2 and eo 2 are the versions for STAC 1.1. Processing has neither software nor date, so that the same product
# always has the same item.
_EXTENSIONS = (
    "classification/v2.0.0",
    "eo/v2.0.0",
    "file/v2.1.0",
    "processing/v1.2.0",
    "projection/v2.0.0",
    "raster/v2.0.0",
)
COLLECTION = "earthsignature-land-cover"
"""Id of the collection of all items."""

_STORE_ROOT = "../../../.."
"""Path from a product's folder to the root of the store."""


@dataclass(frozen=True)
class ProductAreas:
    """Area of each CORINE class in m², by level-3 code, in the raster and in the sieved polygons.

    They differ by the regions below the minimum mapping unit, which the sieve gave to neighbours; a class that it
    removed is in the raster only.
    """

    raster_m2: dict[int, float]
    polygons_m2: dict[int, float]


def extension_schemas(*names: str) -> tuple[str, ...]:
    """Return the schema URLs of STAC extensions, given as name and version, for `stac_extensions`."""
    return tuple(f"https://stac-extensions.github.io/{name}/schema.json" for name in names)


def multihash(content: bytes) -> str:
    """Compute the SHA-256 multihash of a file's bytes in lower-case hex, as the STAC file extension requires."""
    return multihash_of_sha256(hashlib.sha256(content).hexdigest())


def multihash_of_sha256(digest: str) -> str:
    """Return the SHA-256 multihash of a hexadecimal digest."""
    return _MULTIHASH_SHA256 + digest


def build_item(
    draft: Draft,
    files: dict[Asset, tuple[str, int]],
    areas: ProductAreas,
    published_at: dt.datetime,
) -> dict[str, Any]:
    """Build the STAC 1.1 item of a product as plain JSON values.

    Args:
        draft: the product's facts.
        files: multihash and size in bytes of every asset but the item.
        areas: area of each class in the land-cover raster and in the polygons.
        published_at: the first publication, UTC.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [*extension_schemas(*_EXTENSIONS)],
        "id": f"{draft.product_id}_{draft.model}",
        "collection": COLLECTION,
        "geometry": shapely.geometry.mapping(draft.footprint),
        "bbox": list(draft.footprint.bounds),
        "properties": {
            "title": f"CORINE land cover of tile {draft.scene.tile}, {draft.scene.day.isoformat()}, by {draft.model}",
            "datetime": _rfc3339(draft.sensed_at),
            "created": _rfc3339(published_at),
            "gsd": draft.grid.resolution_m,
            "eo:cloud_cover": draft.cloud_cover_percent,
            "proj:code": f"EPSG:{draft.grid.epsg}",
            "processing:level": "L4",
            "processing:lineage": f"Land cover of {draft.product_id}, predicted by {draft.model}",
            "processing:software": {draft.model.name: str(draft.model.version)},
            "earthsignature:product_id": draft.product_id,
            "earthsignature:product_type": draft.product_type,
            "earthsignature:scene": str(draft.scene),
            "earthsignature:model": str(draft.model),
            "earthsignature:whole_scene": draft.whole_scene,
            "earthsignature:area_m2": _by_code(areas.raster_m2),
        },
        "links": _links(draft),
        "assets": {
            asset.name.lower(): {
                "href": f"./{asset.value}",
                "type": MEDIA_TYPES[asset],
                "file:checksum": checksum,
                "file:size": size,
            }
            | _described(asset)
            | _gridded(asset, draft.grid)
            | ({"earthsignature:area_m2": _by_code(areas.polygons_m2)} if asset is Asset.POLYGONS else {})
            for asset, (checksum, size) in sorted(files.items())
        },
    }


def model_item_name(model: ModelVersion) -> str:
    """Return the path of a model version's STAC item in a store."""
    return f"models/{model}/item.json"


def item_assets() -> dict[str, dict[str, Any]]:
    """Return the common properties of every item's files, for the collection."""
    return {
        asset.name.lower(): {"type": MEDIA_TYPES[asset]} | _described(asset)
        for asset in sorted(Asset)
        if asset is not Asset.ITEM
    }


def class_codes_of(item: dict[str, Any]) -> frozenset[int]:
    """Return the CORINE level-3 codes present in an item's product."""
    return frozenset(int(code) for code in item["properties"]["earthsignature:area_m2"])


def item_bytes(item: dict[str, Any]) -> bytes:
    """Encode `item.json`; the same item gives the same bytes."""
    return (json.dumps(item, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def content_digest(item: dict[str, Any]) -> str:
    """Compute twelve hex digits of the content: all of the item with its checksums, except its publication time."""
    properties = {name: value for name, value in item["properties"].items() if name != "created"}
    content = json.dumps(item | {"properties": properties}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def asset_checksums(item: dict[str, Any]) -> dict[Asset, tuple[str, int]]:
    """Return the multihash and size in bytes of every asset in the item.

    Raises:
        KeyError, ValueError: the item lacks a field or has an unknown file.
    """
    return {
        Asset(entry["href"].removeprefix("./")): (entry["file:checksum"], int(entry["file:size"]))
        for entry in item["assets"].values()
    }


def publication_of(item: dict[str, Any]) -> dt.datetime:
    """Return the time of an item's first publication, UTC.

    Raises:
        KeyError, ValueError: the item lacks the field, or it is not a time.
    """
    return dt.datetime.fromisoformat(item["properties"]["created"]).astimezone(dt.UTC)


def _links(draft: Draft) -> list[dict[str, Any]]:
    links = [{"rel": "collection", "href": f"{_STORE_ROOT}/collection.json", "type": "application/json"}]
    links += [{"rel": "derived_from", "href": href, "type": "application/geo+json"} for href in draft.source_hrefs]
    if draft.model_item is not None:
        href = f"{_STORE_ROOT}/{model_item_name(draft.model)}"
        links.append(
            {
                "rel": "derived_from",
                "href": href,
                "type": "application/geo+json",
                "title": f"The model {draft.model}",
                # Required of a model's output by the machine-learning-model extension ("Relation Types").
                "mlm:name": str(draft.model),
            }
        )
    return links


def _described(asset: Asset) -> dict[str, Any]:
    """Return the role of a file, and the data type and classes of a raster."""
    match asset:
        case Asset.LAND_COVER:
            classes = [{"value": NO_DATA, "name": "no_data", "title": "No data", "nodata": True}] + [
                {
                    "value": entry.code,
                    "name": entry.slug,
                    "title": entry.name,
                    "color_hint": entry.hex_colour.removeprefix("#").upper(),
                }
                for entry in CLASSES
            ]
            facts = {"data_type": "uint16", "nodata": NO_DATA, "classification:classes": classes}
            return {"title": "CORINE level-3 codes", "roles": ["data"]} | facts
        case Asset.STYLE:
            return {"title": "Names and colours of the land cover for QGIS", "roles": ["metadata"]}
        case Asset.CONFIDENCE:
            facts = {"data_type": "uint8", "nodata": CONFIDENCE_NO_DATA, "unit": "%"}
            return {"title": "Confidence of the class", "roles": ["metadata"]} | facts
        case Asset.CLOUD_MASK:
            classes = [
                {"value": 0, "name": "clear", "title": "Clear"},
                {"value": 1, "name": "cloud", "title": "Cloud: the class is not reliable"},
            ]
            facts = {"data_type": "uint8", "classification:classes": classes}
            return {"title": "Cloud mask", "roles": ["cloud", "data-mask"]} | facts
        case Asset.POLYGONS:
            return {"title": "Land-cover polygons, GeoParquet", "roles": ["data"]}
        case Asset.GEOBUF:
            return {"title": "Land-cover polygons, geobuf", "roles": ["data"]}
        case Asset.THUMBNAIL:
            return {"title": "Land cover in the official colours", "roles": ["thumbnail"]}
        case Asset.ITEM:
            raise ValueError("the item does not list itself")


def _gridded(asset: Asset, grid: PixelGrid) -> dict[str, Any]:
    """Return the grid of a raster; nothing for other files."""
    if asset not in (Asset.LAND_COVER, Asset.CONFIDENCE, Asset.CLOUD_MASK):
        return {}
    if asset is Asset.CLOUD_MASK:
        grid = grid.at_resolution(CLOUD_RESOLUTION_M)
    return {
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "raster:spatial_resolution": grid.resolution_m,
    }


def _by_code(areas_m2: dict[int, float]) -> dict[str, float]:
    return {str(code): area for code, area in sorted(areas_m2.items())}


def _rfc3339(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
