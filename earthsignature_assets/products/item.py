"""The STAC item of a product: what the product is, which files it has, and their checksums.

The item is also the product's manifest: every other file's SHA-256 and size stand in it, and a digest of the item
itself names the product's folder.
"""

import datetime as dt
import hashlib
import json
from typing import Any

import shapely

from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset

_MULTIHASH_SHA256 = "1220"
_MEDIA_TYPES = {
    Asset.LAND_COVER: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.CONFIDENCE: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.CLOUD_MASK: "image/tiff; application=geotiff; profile=cloud-optimized",
    Asset.POLYGONS: "application/vnd.apache.parquet",
    Asset.GEOBUF: "application/geobuf",
    Asset.THUMBNAIL: "image/png",
}


def multihash(content: bytes) -> str:
    """The SHA-256 multihash of a file's bytes as lower-case hex, as the STAC file extension wants it."""
    return _MULTIHASH_SHA256 + hashlib.sha256(content).hexdigest()


def build_item(
    draft: Draft,
    files: dict[Asset, tuple[str, int]],
    class_codes: frozenset[int],
    published_at: dt.datetime,
) -> dict[str, Any]:
    """The item of a product as plain JSON values.

    Args:
        draft: the product's facts.
        files: multihash and size in bytes of every asset but the item.
        class_codes: CORINE level-3 codes present in the land-cover raster, without 0.
        published_at: the first publication, UTC.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": f"{draft.product_id}_{draft.model}",
        "geometry": shapely.geometry.mapping(draft.footprint),
        "bbox": list(draft.footprint.bounds),
        "properties": {
            "datetime": draft.sensed_at.isoformat(),
            "created": published_at.isoformat(),
            "earthsignature:product_id": draft.product_id,
            "earthsignature:scene": str(draft.scene),
            "earthsignature:model": str(draft.model),
            "earthsignature:product_type": draft.product_type,
            "earthsignature:class_codes": sorted(class_codes),
            "eo:cloud_cover": draft.cloud_cover_percent,
        },
        "links": [{"rel": "derived_from", "href": draft.source_href, "type": "application/geo+json"}],
        "assets": {
            asset.name.lower(): {
                "href": f"./{asset.value}",
                "type": _MEDIA_TYPES[asset],
                "file:checksum": checksum,
                "file:size": size,
            }
            for asset, (checksum, size) in sorted(files.items())
        },
    }


def item_bytes(item: dict[str, Any]) -> bytes:
    """The bytes of `item.json`: the same for the same item."""
    return (json.dumps(item, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def content_digest(item: dict[str, Any]) -> str:
    """Twelve hex digits of the product's content: all that the item says, checksums included, but its publication."""
    properties = {name: value for name, value in item["properties"].items() if name != "created"}
    content = json.dumps(item | {"properties": properties}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def asset_checksums(item: dict[str, Any]) -> dict[Asset, tuple[str, int]]:
    """Multihash and size of every asset that the item lists.

    Raises:
        KeyError, ValueError: the item lacks a field or names an unknown file.
    """
    return {
        Asset(entry["href"].removeprefix("./")): (entry["file:checksum"], int(entry["file:size"]))
        for entry in item["assets"].values()
    }


def publication_of(item: dict[str, Any]) -> dt.datetime:
    """When the item's product was first published, UTC.

    Raises:
        KeyError, ValueError: the item lacks the field, or it is no time.
    """
    return dt.datetime.fromisoformat(item["properties"]["created"]).astimezone(dt.UTC)
