import os
from collections.abc import Callable
from pathlib import Path

import pytest

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.system.settings import SETTINGS, Settings, redacted


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def load(home: Path) -> Callable[..., Settings]:
    """Load the settings of the home from options and further environment variables."""
    return lambda options=None, **environment: Settings.load(options, {"EARTHSIGNATURE_HOME": str(home), **environment})


def write(folder: Path, text: str) -> Path:
    path = folder / "earthsignature.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_environment() -> None:
    settings = Settings.load({}, {}, home_file=False)
    assert settings.home == Path.home() / "earthsignature"
    assert (settings.provider, settings.threads) == ("earth-search", 2)
    assert settings.sources == {}


def test_settings_survive_the_environment(home: Path) -> None:
    settings = Settings(
        home=home,
        area="32TQM",
        max_cloud_percent=30.5,
        threads=1,
        stac_api="http://127.0.0.1:1",
        triton="127.0.0.1:8001,[::1]:8001",
        tls_key=Path("/etc/key.pem"),
        plaintext_tokens=True,
    )
    assert Settings.load({}, settings.to_environment()) == settings


def test_an_option_precedes_the_environment_the_file_and_the_default(home: Path, load: Callable[..., Settings]) -> None:
    path = write(home, "threads = 3\nwindow_days = 30\nlook_back_days = 3\n")
    settings = load({"threads": 5}, EARTHSIGNATURE_THREADS="4", EARTHSIGNATURE_WINDOW_DAYS="40")
    values = settings.threads, settings.window_days, settings.look_back_days, settings.patch_days
    assert values == (5, 40, 3, 7.0)
    assert settings.sources == {
        "home": "environment",
        "threads": "option",
        "window_days": "environment",
        "look_back_days": str(path),
    }


def test_an_empty_option_precedes_the_environment_and_an_empty_variable_is_not_given(
    load: Callable[..., Settings],
) -> None:
    assert load({"catalogue": ""}, EARTHSIGNATURE_CATALOGUE="postgresql://db").catalogue == ""
    assert load(EARTHSIGNATURE_THREADS=" ").threads == 2


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_named_file_replaces_the_one_in_the_home(home: Path, load: Callable[..., Settings], by: str) -> None:
    write(home, "threads = 3\n")
    other = home / "other.toml"
    other.write_text("window_days = 30\n")
    settings = load({"config": other}) if by == "option" else load(EARTHSIGNATURE_CONFIG=str(other))
    assert (settings.threads, settings.window_days) == (2, 30)


def test_a_named_file_may_set_the_home(tmp_path: Path) -> None:
    path = write(tmp_path, f'home = "{tmp_path / "there"}"\ntls_key = "~/key.pem"\ncalls_per_second = 5\n')
    settings = Settings.load({"config": path}, {})
    assert (settings.home, settings.tls_key) == (tmp_path / "there", Path.home() / "key.pem")
    assert isinstance(settings.calls_per_second, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_clouds_percent = 40", "max_clouds_percent is not a setting, the nearest is max_cloud_percent"),
        ('threads = "two"', "threads is of another type .*give a whole number"),
        ("threads = true", "threads is of another type .*give a whole number"),
        ("threads = 0", "threads is 0: give a number of at least 1"),
        ("max_cloud_percent = 101", "at least 0 and at most 100"),
        ("patch_days = nan", "patch_days is nan"),
        ("area = ['32TQM']", "area is of another type .*give text"),
        ("plaintext_tokens = 1", "give true or false"),
        ("home = '/elsewhere'", "home cannot be set by the file in the home"),
        ("threads = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_the_remedy(
    home: Path, load: Callable[..., Settings], text: str, message: str
) -> None:
    path = write(home, text)
    with pytest.raises(ConfigurationError, match=message) as raised:
        load()
    assert str(path) in str(raised.value)


def test_a_named_file_must_exist(home: Path, load: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.toml cannot be read: No such file"):
        load({"config": home / "absent.toml"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [("THREADS", "two"), ("PATCH_DAYS", "-1"), ("PLAINTEXT_TOKENS", "perhaps"), ("CALLS", "0")],
)
def test_a_wrong_variable_is_named(load: Callable[..., Settings], variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"EARTHSIGNATURE_{variable}"):
        load(**{f"EARTHSIGNATURE_{variable}": text})


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ada:secret@db/earth", "postgresql://***@db/earth"),
        ("postgresql://ada:se@cr/et@db/earth?password=secret", "postgresql://***@db/earth?***"),
        ("https://stac.example/v1?token=secret", "https://stac.example/v1?***"),
        ("/data/catalogue.sqlite", "/data/catalogue.sqlite"),
        ("", ""),
    ],
)
def test_credentials_of_addresses_are_redacted(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert SETTINGS["catalogue"].display(Settings(catalogue=address)) == shown


def test_the_type_of_a_secret_is_named_without_its_value(home: Path, load: Callable[..., Settings]) -> None:
    write(home, 'catalogue = ["postgresql://ada:hunter2@db"]')
    with pytest.raises(ConfigurationError, match="catalogue is of another type") as raised:
        load()
    assert "hunter2" not in str(raised.value)


def test_every_default_is_valid() -> None:
    for setting in SETTINGS.values():
        if setting.default is not None:
            assert setting.checked(setting.default, setting.name) == setting.default
    assert os.environ.get("EARTHSIGNATURE_THREADS") is None
