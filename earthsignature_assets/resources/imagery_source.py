"""Where the imagery comes from, and which of it counts."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg

from earthsignature_assets.imagery.days.scene_verdicts import CloudPolicy
from earthsignature_assets.imagery.masks.scene_classification import DEFAULT_MASKS, mask_set_named
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.providers.provider_file import provider_named
from earthsignature_assets.imagery.scenes.area import EUROPE, AreaOfInterest
from earthsignature_assets.resources.settings import Settings

if TYPE_CHECKING:
    from earthsignature_assets.imagery.days.discovery import DiscoveredDay


class ImagerySource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One provider, an area of interest and the cloud thresholds."""

    provider_name: str
    provider_file: str = ""
    stac_api: str = ""
    area_of_interest: str = EUROPE
    max_cloud_percent: float = 60.0
    min_clear_percent: float = 5.0
    masks: str = DEFAULT_MASKS.name

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The imagery of a deployment."""
        return cls(
            provider_name=settings.provider,
            provider_file=settings.provider_file,
            stac_api=settings.stac_api,
            area_of_interest=settings.area,
            max_cloud_percent=settings.max_cloud_percent,
            min_clear_percent=settings.min_clear_percent,
            masks=settings.masks,
        )

    @property
    def provider(self) -> Provider:
        """The provider, at its own address or at another."""
        path = Path(self.provider_file).expanduser() if self.provider_file else None
        return provider_named(self.provider_name, path).at(self.stac_api)

    @property
    def area(self) -> AreaOfInterest:
        """What discovery looks at."""
        return AreaOfInterest.parse(self.area_of_interest)

    @property
    def policy(self) -> CloudPolicy:
        """When a scene is clear enough."""
        return CloudPolicy(self.max_cloud_percent, self.min_clear_percent, mask_set_named(self.masks))

    def discover(self, day: dt.date) -> "DiscoveredDay":
        """Find every item of a day over the area; see `discover_day`."""
        from earthsignature_assets.imagery.days.discovery import (
            discover_day,  # the STAC client, which no other run needs
        )

        return discover_day(self.provider, day, self.area)
