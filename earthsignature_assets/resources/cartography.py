"""The look of the products: minimum mapping unit, tolerance of simplification, codec of the rasters."""

from typing import Self

import dagster as dg

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.products.polygons.generalisation import Generalisation
from earthsignature_assets.products.rasters.cog import Codec
from earthsignature_assets.system.settings import Settings


class Cartography(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The look of new products; a change leaves published products as they are."""

    min_area_ha: float = Settings.min_area_ha
    tolerance_m: float = Settings.tolerance_m
    codec_name: str = Settings.codec

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the cartography of a deployment."""
        return cls(min_area_ha=settings.min_area_ha, tolerance_m=settings.tolerance_m, codec_name=settings.codec)

    @property
    def generalisation(self) -> Generalisation:
        """The detail that polygons leave out.

        Raises:
            ProductError: a number is negative.
        """
        return Generalisation(self.min_area_ha * 10_000, self.tolerance_m)

    @property
    def codec(self) -> Codec:
        """The compression of the pixels.

        Raises:
            ConfigurationError: the name is not a codec.
        """
        try:
            return Codec(self.codec_name.strip().lower())
        except ValueError:
            raise ConfigurationError(f"codec {self.codec_name!r} is not known: give {' or '.join(Codec)}") from None
