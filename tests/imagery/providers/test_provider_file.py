from pathlib import Path

import pytest

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.providers.access import S3, TokenService
from earthsignature_assets.imagery.providers.provider import PROVIDERS, OffsetRule, SearchHeader
from earthsignature_assets.imagery.providers.provider_file import known_providers, provider_named

WHOLE = """
[archive]
api_url = "https://stac.example.org/v1"
collection = "s2-l2a"
level = "L2A"
classification_asset = "SCL"
offset_rule = "baseline"
connections = 3
search_header = { name = "Authorization", variable = "ARCHIVE_TOKEN" }
s3 = { endpoint = "https://s3.example.org", key_variable = "K", secret_variable = "S" }
tokens = { url = "https://example.org/sas" }
band_assets = { B02 = "blue", B03 = "green" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "providers.toml"
    path.write_text(text)
    return path


def test_a_provider_is_read_from_a_file(tmp_path: Path) -> None:
    provider = provider_named("archive", written(tmp_path, WHOLE))
    assert (provider.name, provider.collection, provider.level) == ("archive", "s2-l2a", "L2A")
    assert provider.offset_rule is OffsetRule.BASELINE
    assert provider.band_assets == {"B02": "blue", "B03": "green"}
    assert provider.search_header == SearchHeader("Authorization", "ARCHIVE_TOKEN")
    assert provider.access.connections == 3
    assert provider.access.s3 == S3("https://s3.example.org", "K", "S")
    assert provider.access.tokens == TokenService("https://example.org/sas")


def test_a_mirror_gives_only_the_differences(tmp_path: Path) -> None:
    text = '[mirror]\nlike = "cdse"\napi_url = "https://m.example"\nband_assets = { B02 = "b2" }\n'
    mirror, cdse = provider_named("mirror", written(tmp_path, text)), PROVIDERS["cdse"]
    assert (mirror.api_url, mirror.collection, mirror.access) == ("https://m.example", cdse.collection, cdse.access)
    assert mirror.band_assets == {**cdse.band_assets, "B02": "b2"}


def test_the_built_in_providers_are_known(tmp_path: Path) -> None:
    names = {"earth-search", "earth-search-l2a", "earth-search-l1c", "planetary-computer", "cdse"}
    assert set(known_providers()) == names
    assert set(known_providers(written(tmp_path, WHOLE))) == names | {"archive"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[a]\ncollection = 'x'", "lacks api_url, level"),
        ("[a]\nlike = 'moon'", "'moon'"),
        ("[a]\nlike = 'cdse'\ncolour = 'red'", "colour is unknown"),
        ("[a]\nlike = 'cdse'\nlevel = 'L3'", "L1C, L2A"),
        ("[a]\nlike = 'cdse'\noffset_rule = 'date'", "raster-bands, earth-search-flag, baseline"),
        ("[a]\nlike = 'cdse'\nconnections = 0", "connections is 0"),
        ("[a]\nlike = 'cdse'\ns3 = { endpoint = 'x' }", "secret_variable"),
        ("[a]\nlike = 'cdse'\napi_url = 5", "api_url is 5"),
        ("a = 1", "outside of a table"),
        ("[a", "cannot be read"),
    ],
)
def test_a_table_that_is_not_a_provider_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as refusal:
        known_providers(written(tmp_path, text))
    assert "providers.toml" in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        known_providers(tmp_path / "nowhere.toml")
