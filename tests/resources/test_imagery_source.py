from pathlib import Path

import pytest

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.system.settings import Settings


def source(area: str, provider: str = "earth-search") -> ImagerySource:
    return ImagerySource(provider_name=provider, area_of_interest=area)


def test_an_area_is_tiles_or_a_polygon() -> None:
    assert source("32TQM, T33TUG").area.tiles == {"32TQM", "33TUG"}
    assert source(Settings(home=Path()).area).area.geometry.area > 1000


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="earth-search-l2a"):
        _ = source("32TQM", "moon-search").provider
