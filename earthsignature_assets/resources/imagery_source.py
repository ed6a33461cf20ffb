"""Where the imagery comes from, and which of it counts."""

import datetime as dt
import re
from typing import Any

import dagster as dg

from earthsignature_assets.imagery.cloud_mask import CloudPolicy
from earthsignature_assets.imagery.discovery import AreaOfInterest, discover_day
from earthsignature_assets.imagery.provider import Provider, provider_named

_TILES = re.compile(r"[0-9A-Za-z, ]+")


class ImagerySource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One provider, an area of interest and the cloud thresholds."""

    provider_name: str
    stac_api: str = ""
    area_of_interest: str
    max_cloud_percent: float
    min_clear_percent: float

    @property
    def provider(self) -> Provider:
        """The provider, at its own address or at another."""
        return provider_named(self.provider_name).at(self.stac_api)

    @property
    def area(self) -> AreaOfInterest:
        """What discovery looks at."""
        if _TILES.fullmatch(self.area_of_interest):
            return AreaOfInterest.of_tiles(*self.area_of_interest.replace(",", " ").split())
        return AreaOfInterest.of_wkt(self.area_of_interest)

    @property
    def policy(self) -> CloudPolicy:
        """When a scene is clear enough."""
        return CloudPolicy(self.max_cloud_percent, self.min_clear_percent)

    def discover(self, day: dt.date) -> list[dict[str, Any]]:
        """Every item of a day over the area; see `discover_day`."""
        return discover_day(self.provider, day, self.area)
