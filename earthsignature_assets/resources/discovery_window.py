"""The days that the automation looks back."""

from typing import Self

import dagster as dg

from earthsignature_assets.system.settings import Settings


class DiscoveryWindow(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The look-back of discovery and the working window.

    Attributes:
        look_back_days: days before today that every morning's discovery covers; scenes arrive up to days late.
        window_days: days that a scene stays a partition after its last verdict.
    """

    look_back_days: int = Settings.look_back_days
    window_days: int = Settings.window_days

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the windows of a deployment."""
        return cls(look_back_days=settings.look_back_days, window_days=settings.window_days)
