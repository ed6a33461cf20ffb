"""A scene: one tile seen from one orbit on one day, read strictly from STAC items.

Facts come from the item, never from the date, above all the radiometric offset: baseline 04.00 added −1000, also
to older data that was reprocessed, and some providers have already undone it.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shapely import MultiPolygon, force_2d, make_valid
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import InvalidKeyError, ItemError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.providers.access import Access
from earthsignature_assets.imagery.providers.provider import OffsetRule, Provider
from earthsignature_assets.imagery.scenes.band_asset import (
    BandFile,
    absolute_href,
    self_href,
    stated_grid,
    stated_resolution_m,
    stated_scale_and_offset,
    stated_type_and_no_data,
)
from earthsignature_assets.imagery.scenes.footprint import cut_at_antimeridian, polygons_of
from earthsignature_assets.keys import SceneKey, parse_product_id, parse_tile, relative_orbit_of
from earthsignature_assets.sentinel2 import LEVEL_OF_PRODUCT_TYPE, TEN_METRE_BANDS

_QUANTIFICATION = 10_000
_OFFSET_SINCE, _OFFSET_DN = (4, 0), -1000
# The names of each property: first those of the older `s2:` extension, then those of CDSE.
_PRODUCT_TYPE = ("s2:product_type", "product:type")
_BASELINE = ("s2:processing_baseline", "processing:version")
_GENERATED_AT = ("s2:generation_time", "processing:datetime")
_TILE = ("grid:code", "s2:mgrs_tile")
_DATASTRIP = ("s2:datastrip_id", "eopf:datastrip_id")


@dataclass(frozen=True)
class SceneItem:
    """One validated STAC item of Sentinel-2.

    Attributes:
        item_id: the item's id.
        href: the item's own URL, empty if it has none.
        product_id: the Sentinel-2 product name.
        product_type: `S2MSI1C` or `S2MSI2A`.
        key: the scene that the item shows.
        baseline: processing baseline as a pair of integers, so that (2, 5) is older than (4, 0).
        datatake: the datatake's identity: platform and start of sensing.
        datastrip: start of the item's downlink, such as `20260501T101426`; empty if it is not stated. It is the same
            for another processing of the same downlink.
        sensed_at: time of acquisition over the tile, UTC.
        generated_at: time of processing, UTC.
        cloud_cover_percent: the provider's own figure; None if it gives none.
        no_data_percent: the provider's own share of the tile without data; None if it gives none.
        footprint: the valid-data footprint, EPSG:4326.
        grid: the 10 m grid of the item's bands.
        bands: file of each band, by Sentinel-2 band name.
        classification: file of the scene classification; None if the item has none.
        access: how to open its files.
    """

    item_id: str
    href: str
    product_id: str
    product_type: str
    key: SceneKey
    baseline: tuple[int, int]
    datatake: str
    datastrip: str
    sensed_at: dt.datetime
    generated_at: dt.datetime
    cloud_cover_percent: float | None
    no_data_percent: float | None
    footprint: BaseGeometry
    grid: PixelGrid
    bands: Mapping[str, BandFile]
    classification: BandFile | None
    access: Access = field(default_factory=Access)


@dataclass(frozen=True)
class Scene:
    """The items that together show a scene: usually one, two if ground stations split a datatake.

    The first part names the product; where parts overlap, the earlier one wins.
    """

    parts: tuple[SceneItem, ...]
    superseded: tuple[str, ...] = field(default=())

    @property
    def key(self) -> SceneKey:
        """Key of the scene."""
        return self.parts[0].key

    @property
    def product_id(self) -> str:
        """Sentinel-2 product name under which clients know the scene."""
        return self.parts[0].product_id

    @property
    def source(self) -> str:
        """Product names of the parts; another processing is another source."""
        return " ".join(sorted(part.product_id for part in self.parts))

    @property
    def level(self) -> str:
        """Processing level, `L2A` or `L1C`."""
        return LEVEL_OF_PRODUCT_TYPE[self.parts[0].product_type]

    @property
    def is_remote(self) -> bool:
        """Whether the bands come from a server."""
        return any("://" in file.href for part in self.parts for file in part.bands.values())

    @property
    def grid(self) -> PixelGrid:
        """10 m grid of the scene."""
        return self.parts[0].grid

    @property
    def footprint(self) -> BaseGeometry:
        """Valid-data footprint of all parts, EPSG:4326."""
        whole = self.parts[0].footprint
        for part in self.parts[1:]:
            whole = whole.union(part.footprint)
        return whole


def scene_item(item: Mapping[str, Any], provider: Provider, bands: Sequence[str]) -> SceneItem:
    """Read one STAC item.

    Args:
        item: the item as a JSON object.
        provider: the provider of the item.
        bands: the Sentinel-2 bands that the item must have.

    Raises:
        ItemError: the item lacks a property or a band, or is of another level or collection.
    """
    item_id = str(item.get("id") or "without id")
    properties: Mapping[str, Any] = item.get("properties") or {}
    if item.get("collection") != provider.collection:
        raise ItemError(
            f"item {item_id} is of collection {item.get('collection')!r}, expected {provider.collection!r}: "
            "collections are never mixed, choose the provider of this collection"
        )
    product_type = str(_fact(item_id, properties, *_PRODUCT_TYPE))
    if LEVEL_OF_PRODUCT_TYPE.get(product_type) != provider.level:
        raise ItemError(
            f"item {item_id} is {product_type}, the provider {provider.name} delivers {provider.level}: levels are "
            "never mixed, choose a provider of the other level"
        )
    baseline = _baseline(item_id, str(_fact(item_id, properties, *_BASELINE)))
    try:
        product_id = parse_product_id(str(properties.get("s2:product_uri") or item_id))
        sensed_at = _time(item_id, properties, "datetime")
        key = SceneKey(sensed_at.date(), relative_orbit_of(product_id), tile_of(item))
    except InvalidKeyError as error:
        raise ItemError(f"item {item_id}: {error}") from error
    files = {band: _band_file(item_id, item, provider, band, baseline) for band in bands}
    grid = files[_ten_metre_band(bands)].grid
    if grid is None:
        raise ItemError(f"item {item_id} does not state its grid (proj:epsg or proj:code, proj:transform, proj:shape)")
    return SceneItem(
        item_id=item_id,
        href=self_href(item),
        product_id=product_id,
        product_type=product_type,
        key=key,
        baseline=baseline,
        datatake="_".join(product_id.split("_")[i] for i in (0, 2)),
        datastrip=_datastrip(properties),
        sensed_at=sensed_at,
        generated_at=_time(item_id, properties, *_GENERATED_AT),
        cloud_cover_percent=_percent(properties.get("eo:cloud_cover")),
        no_data_percent=_percent(properties.get("s2:nodata_pixel_percentage")),
        footprint=_footprint(item_id, item.get("geometry"), grid),
        grid=grid,
        bands=files,
        classification=_classification(item_id, item, provider),
        access=provider.access,
    )


def tile_of(item: Mapping[str, Any]) -> str:
    """Return the MGRS tile of an item in its canonical form: some APIs write `MGRS-7HFE` for 07HFE.

    Raises:
        ItemError: the item does not state its tile.
        InvalidKeyError: its statement is not a tile.
    """
    properties: Mapping[str, Any] = item.get("properties") or {}
    text = str(_fact(str(item.get("id") or "without id"), properties, *_TILE))
    return parse_tile(text.removeprefix("MGRS-"))


def _ten_metre_band(bands: Sequence[str]) -> str:
    return next((band for band in bands if band in TEN_METRE_BANDS), bands[0])


def _fact(item_id: str, properties: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if (value := properties.get(name)) not in (None, "", "null"):
            return value
    raise ItemError(f"item {item_id} lacks the property {' or '.join(names)}")


def _time(item_id: str, properties: Mapping[str, Any], *names: str) -> dt.datetime:
    text = str(_fact(item_id, properties, *names))
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ItemError(f"item {item_id}: property {' or '.join(names)} {text!r} is not a time") from error
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _baseline(item_id: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})", text)
    if match is None:
        raise ItemError(f"item {item_id}: processing baseline {text!r} is not of the form 05.11")
    return int(match[1]), int(match[2])


def _datastrip(properties: Mapping[str, Any]) -> str:
    text = next((str(properties[name]) for name in _DATASTRIP if properties.get(name)), "")
    match = re.search(r"_S([0-9]{8}T[0-9]{6})", text)
    return match[1] if match else ""


def _percent(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None


def _band_file(
    item_id: str, item: Mapping[str, Any], provider: Provider, band: str, baseline: tuple[int, int]
) -> BandFile:
    properties: Mapping[str, Any] = item.get("properties") or {}
    asset_key = provider.band_assets.get(band)
    asset = (item.get("assets") or {}).get(asset_key) or {}
    if asset_key is None or not asset.get("href"):
        raise ItemError(f"item {item_id} has no band {band}: asset {asset_key!r} is missing")
    scale, offset = stated_scale_and_offset(asset, properties, band)
    if scale is not None and (not scale or round(1 / scale) != _QUANTIFICATION):
        raise ItemError(f"item {item_id}: band {band} has scale {scale}, expected {1 / _QUANTIFICATION}")
    stated = None if scale is None or offset is None else round(offset / scale)
    file = _described(item_id, item, asset, band, inherit=band in TEN_METRE_BANDS)
    return replace(
        file,
        offset_dn=_offset_dn(item_id, properties, band, baseline, provider.offset_rule, stated),
        stated_offset_dn=stated,
    )


def _classification(item_id: str, item: Mapping[str, Any], provider: Provider) -> BandFile | None:
    asset = (item.get("assets") or {}).get(provider.classification_asset) or {}
    return _described(item_id, item, asset, "SCL", inherit=False) if asset.get("href") else None


def _described(
    item_id: str, item: Mapping[str, Any], asset: Mapping[str, Any], band: str, *, inherit: bool
) -> BandFile:
    properties: Mapping[str, Any] = item.get("properties") or {}
    data_type, no_data = stated_type_and_no_data(asset, properties, band)
    return BandFile(
        absolute_href(item_id, item, str(asset["href"])),
        grid=stated_grid(item_id, asset, properties, inherit=inherit),
        resolution_m=stated_resolution_m(asset, properties, band),
        data_type=data_type,
        no_data=no_data,
    )


def _offset_dn(
    item_id: str,
    properties: Mapping[str, Any],
    band: str,
    baseline: tuple[int, int],
    rule: OffsetRule,
    stated: int | None,
) -> int:
    if rule is OffsetRule.BASELINE:
        return _OFFSET_DN if baseline >= _OFFSET_SINCE else 0
    if rule is OffsetRule.EARTH_SEARCH_FLAG:
        applied = properties.get("earthsearch:boa_offset_applied")
        if applied is None:
            raise ItemError(f"item {item_id} does not state whether the offset is applied (boa_offset_applied)")
        if applied:
            return 0
    if stated is None:
        raise ItemError(
            f"item {item_id}: band {band} does not state scale and offset (raster:bands, bands, raster:scale, "
            "raster:offset)"
        )
    return stated


def _footprint(item_id: str, geometry: Any, grid: PixelGrid) -> BaseGeometry:
    """Read the footprint; if the item has none, use that of the whole grid."""
    if not geometry:
        return cut_at_antimeridian(grid.footprint())
    try:
        repaired = make_valid(cut_at_antimeridian(force_2d(shape(geometry))))
    except (ShapelyError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ItemError(f"item {item_id}: geometry cannot be read: {error}") from error
    polygons = [part for part in polygons_of(repaired) if not part.is_empty]
    if not polygons:
        raise ItemError(f"item {item_id}: the geometry is a {repaired.geom_type}, expected a polygon")
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
