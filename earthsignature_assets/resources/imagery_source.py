"""The source of the imagery: provider, area of interest and cloud thresholds."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg

from earthsignature_assets.imagery.days.scene_verdicts import CloudPolicy
from earthsignature_assets.imagery.masks.scene_classification import mask_set_named
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.providers.provider_file import provider_named
from earthsignature_assets.imagery.scenes.area import AreaOfInterest
from earthsignature_assets.system.settings import Settings

if TYPE_CHECKING:
    from earthsignature_assets.imagery.days.discovery import DiscoveredDay


class ImagerySource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One provider, an area of interest and the cloud thresholds."""

    provider_name: str = Settings.provider
    provider_file: str = Settings.provider_file
    stac_api: str = Settings.stac_api
    proxy: str = Settings.proxy
    ca_bundle: str = Settings.ca_bundle
    area_of_interest: str = Settings.area
    max_cloud_percent: float = Settings.max_cloud_percent
    min_clear_percent: float = Settings.min_clear_percent
    masks: str = Settings.masks

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the imagery source of a deployment."""
        return cls(
            provider_name=settings.provider,
            provider_file=settings.provider_file,
            stac_api=settings.stac_api,
            proxy=settings.proxy,
            ca_bundle=settings.ca_bundle,
            area_of_interest=settings.area,
            max_cloud_percent=settings.max_cloud_percent,
            min_clear_percent=settings.min_clear_percent,
            masks=settings.masks,
        )

    @property
    def provider(self) -> Provider:
        """The provider, at its own address or at the configured one."""
        path = Path(self.provider_file).expanduser() if self.provider_file else None
        return provider_named(self.provider_name, path).at(self.stac_api).through(self.proxy, self.ca_bundle)

    @property
    def area(self) -> AreaOfInterest:
        """The area of discovery."""
        return AreaOfInterest.parse(self.area_of_interest)

    @property
    def policy(self) -> CloudPolicy:
        """The thresholds that a scene must meet."""
        return CloudPolicy(self.max_cloud_percent, self.min_clear_percent, mask_set_named(self.masks))

    def discover(self, day: dt.date) -> "DiscoveredDay":
        """Return every item of a day over the area; see `discover_day`."""
        # Imports the STAC client, which no other run needs.
        from earthsignature_assets.imagery.days.discovery import discover_day

        return discover_day(self.provider, day, self.area)
