from pathlib import Path

import pytest

from earthsignature_assets.errors import ConfigurationError, InvalidKeyError
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.settings import Settings


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environment({})
    assert settings.home.is_absolute()
    assert (settings.provider, settings.threads) == ("earth-search", 2)


def test_settings_survive_the_environment(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        area="32TQM",
        max_cloud_percent=30.5,
        threads=1,
        stac_api="http://127.0.0.1:1",
        triton="127.0.0.1:8001,[::1]:8001",
    )
    assert Settings.from_environment(settings.to_environment()) == settings


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(InvalidKeyError, match="EARTHSIGNATURE_THREADS='two'"):
        Settings.from_environment({"EARTHSIGNATURE_THREADS": "two"})


def source(area: str, provider: str = "earth-search") -> ImagerySource:
    return ImagerySource(provider_name=provider, area_of_interest=area, max_cloud_percent=60, min_clear_percent=5)


def test_an_area_is_tiles_or_a_polygon() -> None:
    assert source("32TQM, T33TUG").area.tiles == {"32TQM", "33TUG"}
    assert source(Settings(home=Path()).area).area.geometry.area > 1000


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="earth-search-l2a"):
        _ = source("32TQM", "moon-search").provider
