"""How products are drawn: the minimum mapping unit, the tolerance of simplification, the codec of rasters."""

import dagster as dg

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.products.polygons.generalisation import Generalisation
from earthsignature_assets.products.rasters.cog import Codec


class Cartography(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What a deployment chooses of the look of its products; a change makes new products, not other old ones."""

    min_area_ha: float = 0.25
    tolerance_m: float = 10.0
    codec_name: str = Codec.DEFLATE.value

    @property
    def generalisation(self) -> Generalisation:
        """How much detail polygons leave out.

        Raises:
            ProductError: a number is negative.
        """
        return Generalisation(self.min_area_ha * 10_000, self.tolerance_m)

    @property
    def codec(self) -> Codec:
        """How the pixels are compressed.

        Raises:
            InvalidKeyError: the name is none of the codecs.
        """
        try:
            return Codec(self.codec_name.strip().lower())
        except ValueError:
            raise InvalidKeyError(
                f"EARTHSIGNATURE_CODEC={self.codec_name!r} is no codec: give {' or '.join(Codec)}"
            ) from None
