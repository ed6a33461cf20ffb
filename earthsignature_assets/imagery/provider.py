"""Who publishes the imagery, and in whose words: one small record per STAC API and collection.

Providers differ in asset keys and in how they tell the radiometric offset. They are never mixed in one run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from earthsignature_assets.errors import ItemError


class OffsetRule(StrEnum):
    """Where an item says which offset its digital numbers still carry."""

    RASTER_BANDS = "raster-bands"
    """`raster:bands` of the asset: offset / scale is what readers must still add."""

    EARTH_SEARCH_FLAG = "earth-search-flag"
    """`earthsearch:boa_offset_applied` decides first: where it is true nothing is left to add, although
    `raster:bands` still says −0.1; where it is false `raster:bands` holds."""


_EARTH_SEARCH_KEYS = {
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B11": "swir16",
    "B12": "swir22",
}


@dataclass(frozen=True)
class Provider:
    """One collection of one STAC API.

    Attributes:
        name: what the configuration and the command line call it.
        api_url: root of the STAC API.
        collection: the collection that is searched.
        level: processing level of its items, `L2A` or `L1C`.
        band_assets: asset key of each Sentinel-2 band.
        classification_asset: asset key of the scene classification (SCL).
        offset_rule: where its items tell the radiometric offset.
    """

    name: str
    api_url: str
    collection: str
    level: str
    band_assets: Mapping[str, str]
    classification_asset: str
    offset_rule: OffsetRule

    def at(self, api_url: str | None) -> Self:
        """The same collection served by another API, for mirrors and tests; None changes nothing."""
        return self if not api_url else replace(self, api_url=api_url)


_EARTH_SEARCH_URL = "https://earth-search.aws.element84.com/v1"

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "earth-search",
            _EARTH_SEARCH_URL,
            "sentinel-2-c1-l2a",
            "L2A",
            _EARTH_SEARCH_KEYS,
            "scl",
            OffsetRule.RASTER_BANDS,
        ),
        Provider(
            "earth-search-l2a",
            _EARTH_SEARCH_URL,
            "sentinel-2-l2a",
            "L2A",
            _EARTH_SEARCH_KEYS,
            "scl",
            OffsetRule.EARTH_SEARCH_FLAG,
        ),
    )
}
"""The providers that are known by name. Collection 1 is the preferred one: it is processed consistently."""


def provider_named(name: str) -> Provider:
    """Return a known provider.

    Raises:
        ItemError: no provider has that name.
    """
    try:
        return PROVIDERS[name]
    except KeyError:
        raise ItemError(f"no imagery provider is called {name!r}: choose one of {', '.join(PROVIDERS)}") from None
