"""Imagery providers and their dialects: one small record for each STAC API and collection.

Providers differ in asset keys, in how they state the radiometric offset, and in how their bands are reached. They are
never mixed: a run has one provider, and each provider's days are kept apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from earthsignature_assets.imagery.providers.access import S3, Access, TokenService
from earthsignature_assets.sentinel2 import TEN_METRE_BANDS


class OffsetRule(StrEnum):
    """The place where an item states which offset its digital numbers still carry."""

    RASTER_BANDS = "raster-bands"
    """Scale and offset of the asset (`raster:bands`, or `raster:scale` and `raster:offset`): readers must still add
    offset / scale."""

    EARTH_SEARCH_FLAG = "earth-search-flag"
    """`earthsearch:boa_offset_applied` decides first: if it is true, nothing is left to add, although `raster:bands`
    still says −0.1; if it is false, `raster:bands` holds."""

    BASELINE = "baseline"
    """The files are ESA's own, unchanged, and the item states their processing baseline: from 04.00 on, −1000 is
    left to add; before it, nothing. For reprocessed data the baseline of the reprocessing counts, whatever the date."""


@dataclass(frozen=True)
class SearchHeader:
    """A header sent with every search: its name, and the environment variable that holds its value."""

    name: str
    variable: str


@dataclass(frozen=True)
class Provider:
    """One collection of one STAC API.

    Attributes:
        name: name in the configuration and on the command line.
        api_url: root of the STAC API.
        collection: the collection to search.
        level: processing level of its items, `L2A` or `L1C`.
        band_assets: asset key of each Sentinel-2 band.
        classification_asset: asset key of the scene classification (SCL); empty if there is none.
        offset_rule: where its items state the radiometric offset.
        access: how to open its bands.
        search_header: the header that authorises searches; None if they are public.
    """

    name: str
    api_url: str
    collection: str
    level: str
    band_assets: Mapping[str, str]
    classification_asset: str
    offset_rule: OffsetRule
    access: Access = field(default_factory=Access)
    search_header: SearchHeader | None = None

    def at(self, api_url: str | None) -> Self:
        """Return the same collection served by another API, for mirrors and tests; None changes nothing."""
        return self if not api_url else replace(self, api_url=api_url)

    def through(self, proxy: str, ca_bundle: str) -> Self:
        """Return the provider with every request sent through a proxy, and servers verified by a bundle."""
        return replace(self, access=replace(self.access, proxy=proxy, ca_bundle=ca_bundle))


_COLLECTION_1 = Provider(
    name="earth-search",
    api_url="https://earth-search.aws.element84.com/v1",
    collection="sentinel-2-c1-l2a",
    level="L2A",
    band_assets={
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
    },
    classification_asset="scl",
    offset_rule=OffsetRule.RASTER_BANDS,
)

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        _COLLECTION_1,
        replace(
            _COLLECTION_1,
            name="earth-search-l2a",
            collection="sentinel-2-l2a",
            offset_rule=OffsetRule.EARTH_SEARCH_FLAG,
        ),
        replace(
            _COLLECTION_1,
            name="earth-search-l1c",
            collection="sentinel-2-l1c",
            level="L1C",
            classification_asset="",
            access=Access(
                s3=S3(
                    endpoint="https://s3.eu-central-1.amazonaws.com",
                    region="eu-central-1",
                    key_variable="AWS_ACCESS_KEY_ID",
                    secret_variable="AWS_SECRET_ACCESS_KEY",  # noqa: S106 - a name
                    requester_pays=True,
                )
            ),
        ),
        Provider(
            name="planetary-computer",
            api_url="https://planetarycomputer.microsoft.com/api/stac/v1",
            collection="sentinel-2-l2a",
            level="L2A",
            band_assets={band: band for band in _COLLECTION_1.band_assets},
            classification_asset="SCL",
            offset_rule=OffsetRule.BASELINE,
            access=Access(
                tokens=TokenService(
                    url="https://planetarycomputer.microsoft.com/api/sas/v1/token",
                    key_variable="PC_SDK_SUBSCRIPTION_KEY",
                )
            ),
        ),
        Provider(
            name="cdse",
            api_url="https://stac.dataspace.copernicus.eu/v1",
            collection="sentinel-2-l2a",
            level="L2A",
            band_assets={
                band: f"{band}_{10 if band in TEN_METRE_BANDS else 20}m" for band in _COLLECTION_1.band_assets
            },
            classification_asset="SCL_20m",
            offset_rule=OffsetRule.RASTER_BANDS,
            access=Access(
                connections=4,  # the quota of a general user: documentation.dataspace.copernicus.eu/Quotas.html
                s3=S3(
                    endpoint="https://eodata.dataspace.copernicus.eu",
                    key_variable="CDSE_ACCESS_KEY_ID",
                    secret_variable="CDSE_SECRET_ACCESS_KEY",  # noqa: S106 - a name
                ),
            ),
        ),
    )
}
"""The built-in providers, by name. Collection 1 is preferred: it is processed consistently."""
