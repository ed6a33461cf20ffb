import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pystac
import pytest
import rasterio

from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import (
    ProductAreas,
    asset_checksums,
    build_item,
    class_codes_of,
    content_digest,
    item_bytes,
    multihash,
    publication_of,
)
from earthsignature_assets.products.product import Asset

AREAS = ProductAreas(raster_m2={312: 4200.0, 111: 300.0}, polygons_m2={312: 4500.0})
PUBLISHED = dt.datetime(2026, 5, 2, 8, tzinfo=dt.UTC)


@pytest.fixture
def draft(finished_drafts: Callable[..., Draft]) -> Draft:
    return finished_drafts()


def files_of(draft: Draft) -> dict[Asset, tuple[str, int]]:
    contents = {asset: draft.path(asset).read_bytes() for asset in Asset if asset is not Asset.ITEM}
    return {asset: (multihash(content), len(content)) for asset, content in contents.items()}


@pytest.fixture
def item(draft: Draft) -> dict[str, Any]:
    return build_item(draft, files_of(draft), AREAS, PUBLISHED)


def test_it_is_a_stac_item(item: dict[str, Any], stac_faults: Callable[[dict[str, Any]], list[str]]) -> None:
    assert stac_faults(json.loads(item_bytes(item))) == []
    assert stac_faults(item | {"properties": item["properties"] | {"datetime": 5}}), "the validator finds faults"
    read = pystac.Item.from_dict(json.loads(item_bytes(item)))
    read.stac_extensions = []  # pystac has only the core's schemas; these are online
    read.validate()
    assert read.datetime == dt.datetime(2026, 5, 1, 10, 15, 59, tzinfo=dt.UTC)


def test_it_names_its_source(item: dict[str, Any], draft: Draft) -> None:
    sources = ("https://stac.example/items/part-1", "https://stac.example/items/part-2")
    split = build_item(replace(draft, source_hrefs=sources), files_of(draft), AREAS, PUBLISHED)
    for made, expected in ((item, draft.source_hrefs), (split, sources)):
        derived = [link["href"] for link in made["links"] if link["rel"] == "derived_from"]
        assert derived == [*expected, "../../../../models/corine-unet-v1/item.json"]
        assert made["links"][-1]["mlm:name"] == "corine-unet-v1"
    without = build_item(replace(draft, model_item=None), files_of(draft), AREAS, PUBLISHED)
    assert [link["rel"] for link in without["links"]] == ["collection", "derived_from"]


def test_its_extensions_are_those_that_pystac_knows(item: dict[str, Any]) -> None:
    read = pystac.Item.from_dict(item)
    for name in ("classification", "eo", "file", "proj", "raster"):
        assert read.ext.has(name), name
    land_cover = read.assets["land_cover"]
    assert read.ext.proj.epsg == 32632
    assert len(land_cover.ext.classification.classes or []) == 45
    assert land_cover.ext.file.checksum == item["assets"]["land_cover"]["file:checksum"]
    prefixes = {field.partition(":")[0] for field in item["properties"] if ":" in field}
    prefixes |= {field.partition(":")[0] for asset in item["assets"].values() for field in asset if ":" in field}
    declared = {url.split("/")[3] for url in item["stac_extensions"]}
    assert prefixes == {"eo", "proj", "raster", "file", "classification", "processing", "earthsignature"}
    assert declared == {"eo", "projection", "raster", "file", "classification", "processing"}


def test_the_sieves_effect_is_listed_with_the_area_of_each_class(item: dict[str, Any]) -> None:
    assert item["properties"]["earthsignature:area_m2"] == {"111": 300.0, "312": 4200.0}
    assert item["assets"]["polygons"]["earthsignature:area_m2"] == {"312": 4500.0}
    assert class_codes_of(item) == {111, 312}, "those of the raster"


def test_rasters_are_described_as_they_are(item: dict[str, Any], draft: Draft) -> None:
    for asset in (Asset.LAND_COVER, Asset.CONFIDENCE, Asset.CLOUD_MASK):
        described = item["assets"][asset.name.lower()]
        with rasterio.open(draft.path(asset)) as raster:
            assert described["proj:shape"] == list(raster.shape)
            assert described["proj:transform"] == list(raster.transform)[:6]
            assert described["data_type"] == raster.dtypes[0]
            assert described.get("nodata") == raster.nodata
            assert described["raster:spatial_resolution"] == raster.res[0]
            assert item["properties"]["proj:code"] == f"EPSG:{raster.crs.to_epsg()}"


def test_classes_have_names_and_colours(item: dict[str, Any]) -> None:
    classes = {entry["value"]: entry for entry in item["assets"]["land_cover"]["classification:classes"]}
    assert len(classes) == 45
    assert classes[0]["nodata"] is True
    assert classes[312] == {
        "value": 312,
        "name": "coniferous_forest",
        "title": "Coniferous forest",
        "color_hint": "00A600",
    }
    assert len({entry["name"] for entry in classes.values()}) == 45


def test_checksums_are_sha256_multihashes(item: dict[str, Any], draft: Draft) -> None:
    for asset, (checksum, size) in asset_checksums(item).items():
        content = draft.path(asset).read_bytes()
        assert checksum == "1220" + hashlib.sha256(content).hexdigest()
        assert size == len(content)


def test_the_built_item_is_read_back(item: dict[str, Any], draft: Draft) -> None:
    read = json.loads(item_bytes(item))
    assert asset_checksums(read) == files_of(draft)
    assert publication_of(read) == PUBLISHED
    assert class_codes_of(read) == {111, 312}
    assert content_digest(read) == content_digest(item)


def test_the_digest_does_not_depend_on_the_publication_time(item: dict[str, Any], draft: Draft) -> None:
    files = files_of(draft)
    later = build_item(draft, files, AREAS, PUBLISHED + dt.timedelta(days=1))
    assert content_digest(later) == content_digest(item)
    other_file = files | {Asset.THUMBNAIL: (multihash(b"other"), 5)}
    assert content_digest(build_item(draft, other_file, AREAS, PUBLISHED)) != content_digest(item)
    cloudier = replace(draft, cloud_cover_percent=20.0)
    assert content_digest(build_item(cloudier, files, AREAS, PUBLISHED)) != content_digest(item)
