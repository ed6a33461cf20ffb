"""Read a STAC item's statements on one band's file, in any STAC version.

STAC 1.0 has `raster:bands` and `proj:epsg`; STAC 1.1 has `bands` and `proj:code`, and allows scale, offset and no-data
in the asset or in the item. Migrated items mix them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pystac.utils import make_absolute_href

from earthsignature_assets.errors import ItemError
from earthsignature_assets.grid import PixelGrid

_Facts = Mapping[str, Any]


@dataclass(frozen=True)
class BandFile:
    """A band's file and its item's statements on it; None for each that the item lacks.

    Attributes:
        href: absolute URL or path.
        offset_dn: offset that turns digital numbers into reflectance × 10000 when added once.
        grid: the file's pixel grid.
        resolution_m: the file's pixel size in metres.
        data_type: NumPy's name of the data type, such as `uint16`.
        no_data: the digital number for no data.
        stated_offset_dn: offset from the item's scale and offset, whether or not it is still to be added.
    """

    href: str
    offset_dn: int = 0
    grid: PixelGrid | None = None
    resolution_m: float | None = None
    data_type: str | None = None
    no_data: float | None = None
    stated_offset_dn: int | None = None


def absolute_href(item_id: str, item: _Facts, href: str) -> str:
    """Resolve an asset's href: against the item's self link if it is relative, to a path if it is `file://`.

    Raises:
        ItemError: the href is relative, and the item has no self link.
    """
    if "://" not in href and not href.startswith("/"):
        if not (base := self_href(item)):
            raise ItemError(f"item {item_id} has the relative href {href!r} and no self link to resolve it")
        href = make_absolute_href(href, base, start_is_dir=False)
    if urlsplit(href).scheme == "file":
        return unquote(href.removeprefix("file://").removeprefix("localhost"))
    return href


def self_href(item: _Facts) -> str:
    """Return the item's own URL; empty if it has none."""
    links = item.get("links") or []
    return next((str(link["href"]) for link in links if link.get("rel") == "self" and link.get("href")), "")


def stated_scale_and_offset(asset: _Facts, properties: _Facts, band: str) -> tuple[float | None, float | None]:
    """Return scale and offset as the item states them: reflectance = number × scale + offset."""
    facts = list(_facts(asset, properties, band))
    return _number(facts, "scale"), _number(facts, "offset")


def stated_type_and_no_data(asset: _Facts, properties: _Facts, band: str) -> tuple[str | None, float | None]:
    """Return data type and no-data value as the item states them; a no-data value of NaN states nothing."""
    facts = list(_facts(asset, properties, band))
    data_type, no_data = _first(facts, "data_type"), _number(facts, "nodata")
    return (None if data_type is None else str(data_type)), (
        None if no_data is None or math.isnan(no_data) else no_data
    )


def stated_resolution_m(asset: _Facts, properties: _Facts, band: str) -> float | None:
    """Return the pixel size in metres that the item states; None if it states none."""
    return _number(list(_facts(asset, properties, band)), "spatial_resolution") or _number([asset], "gsd")


def stated_grid(item_id: str, asset: _Facts, properties: _Facts, *, inherit: bool) -> PixelGrid | None:
    """Return the pixel grid that the item states for an asset.

    Args:
        item_id: the item's id, for errors.
        asset: the asset.
        properties: the item's properties.
        inherit: whether transform and shape of the properties hold for the asset too, as they do at 10 m.

    Returns:
        The grid; None if transform, shape or CRS are not stated.

    Raises:
        ItemError: the grid is not north-up with square pixels, or the CRS is not an EPSG code.
    """
    sources = (asset, properties) if inherit else (asset,)
    affine, size = (_first(sources, name, prefixes=("proj:",)) for name in ("transform", "shape"))
    code = next(
        (
            str(stated).removeprefix("EPSG:")
            for facts in (asset, properties)
            if (stated := facts.get("proj:epsg") or facts.get("proj:code"))
        ),
        "",
    )
    if not affine or not size or not code:
        return None
    a, b, left, d, e, top = (float(number) for number in affine[:6])
    if b or d or a != -e or a <= 0:
        raise ItemError(f"item {item_id}: proj:transform {affine} is not north-up with square pixels")
    if not re.fullmatch(r"[0-9]{4,6}", code):
        raise ItemError(f"item {item_id}: {code!r} is not an EPSG code")
    return PixelGrid(int(code), left, top, a, int(size[1]), int(size[0]))


def _facts(asset: _Facts, properties: _Facts, band: str) -> Iterator[_Facts]:
    """Yield the places that may have a property of a band, the closest first."""
    for name in ("raster:bands", "bands"):
        described = [facts for facts in asset.get(name) or [] if isinstance(facts, Mapping)]
        named = [facts for facts in described if facts.get("name") == band]
        yield from named or described[:1]
    yield asset
    yield properties


def _first(places: Any, name: str, prefixes: tuple[str, ...] = ("", "raster:")) -> Any:
    # A Parquet file has every column for every item: a property that an item lacks is None there.
    return next(
        (value for facts in places for prefix in prefixes if (value := facts.get(prefix + name)) is not None), None
    )


def _number(places: Any, name: str) -> float | None:
    value = _first(places, name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
