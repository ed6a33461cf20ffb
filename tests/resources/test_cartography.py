import pytest

from earthsignature_assets.errors import ConfigurationError, ProductError
from earthsignature_assets.products.polygons.generalisation import Generalisation
from earthsignature_assets.products.rasters.cog import Codec
from earthsignature_assets.resources.cartography import Cartography


def test_the_defaults_are_the_defaults_of_the_products() -> None:
    assert Cartography().generalisation == Generalisation()
    assert Cartography().codec is Codec.DEFLATE


def test_hectares_become_square_metres() -> None:
    assert Cartography(min_area_ha=1.5, tolerance_m=20).generalisation == Generalisation(15_000, 20)


def test_bad_choices_are_named() -> None:
    with pytest.raises(ConfigurationError, match="codec 'lzw' is not known: give deflate or zstd"):
        _ = Cartography(codec_name="lzw").codec
    with pytest.raises(ProductError, match="min_area_m2"):
        _ = Cartography(min_area_ha=-1).generalisation
