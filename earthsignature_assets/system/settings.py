"""The settings of a deployment: each is declared here once, with its type, default, help and limits.

A value comes from a command option, an environment variable (`EARTHSIGNATURE_` and the setting's name), a TOML file, or
the default, in this order. The file is `earthsignature.toml` in the home, or the one that `--config` or
EARTHSIGNATURE_CONFIG names.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, get_type_hints

from earthsignature_assets.errors import ConfigurationError

SETTINGS_FILE = "earthsignature.toml"
CONFIG_VARIABLE = "EARTHSIGNATURE_CONFIG"
DEFAULT_SOURCE = "default"


def _setting(
    default: Any,
    help_text: str,
    *,
    shown: str = "",
    secret: bool = False,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    facts = {"help": help_text, "shown": shown, "secret": secret, "at_least": at_least, "at_most": at_most}
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Settings:
    """The settings of a deployment; `SETTINGS` describes each one.

    `sources` names where each value comes from: `option`, `environment`, the path of a file, or `default`.
    """

    home: Path = _setting(None, "Folder of everything that is written.", shown="`~/earthsignature`")
    provider: str = _setting("earth-search", "Name of the imagery provider.")
    provider_file: str = _setting("", "TOML file of further providers.", shown="none")
    stac_api: str = _setting(
        "", "Another address of the provider's STAC API, for mirrors.", shown="the provider's own", secret=True
    )
    proxy: str = _setting(
        "",
        "HTTP proxy for requests to the provider; variables such as `https_proxy` are not read.",
        shown="none",
        secret=True,
    )
    ca_bundle: str = _setting(
        "", "Certificate authorities that the provider's servers are verified by, PEM.", shown="the built-in ones"
    )
    area: str = _setting(
        "europe",
        "Area of discovery: `europe` (1,428 land tiles), MGRS tiles separated by commas, a WKT polygon in EPSG:4326, "
        "or the path of a GeoJSON or WKT file.",
    )
    models: str = _setting("", "Model repository.", shown="`<home>/models`, then the package's own")
    triton: str = _setting(
        "", "`host:port` of each Triton server's gRPC service, separated by commas.", shown="none: the embedded engine"
    )
    store: str = _setting("", "Product store: a folder, or `s3://bucket/prefix`.", shown="`<home>/store`")
    catalogue: str = _setting(
        "",
        "Catalogue: `postgresql://…` or a SQLite file. A store on S3 needs it.",
        shown="`catalogue.sqlite` in a store that is a folder",
        secret=True,
    )
    max_cloud_percent: float = _setting(
        60.0, "Maximum cloud cover of a scene's valid area, in percent.", at_least=0, at_most=100
    )
    min_clear_percent: float = _setting(5.0, "Minimum clear part of a tile, in percent.", at_least=0, at_most=100)
    masks: str = _setting(
        "clouds", "Classes that hide the ground: `clouds`, `clouds-and-snow`, `dense-clouds` or `strict`."
    )
    look_back_days: int = _setting(7, "Days before today that every morning's discovery covers.", at_least=0)
    window_days: int = _setting(90, "Days that a scene stays a partition after its last verdict.", at_least=0)
    patch_days: float = _setting(7.0, "Days that the patches of a scene stay.", at_least=0)
    patch_budget_gb: float = _setting(200.0, "Gigabytes (10⁹ bytes) that all patches may take.", at_least=0)
    min_area_ha: float = _setting(
        0.25,
        "Minimum mapping unit of the polygons in hectares; smaller regions go to their largest neighbour.",
        at_least=0,
    )
    tolerance_m: float = _setting(
        10.0,
        "Tolerance of simplification in metres: corners of borders whose triangle is at most this squared are left "
        "out; 0 keeps every pixel's corner.",
        at_least=0,
    )
    codec: str = _setting(
        "deflate",
        "Compression of the rasters. `zstd` makes them a quarter smaller at thirty times the processor time, and "
        "clients of 2022 cannot read them.",
    )
    threads: int = _setting(2, "Threads of the embedded engine; two windows at once share them.", at_least=1)
    listen: str = _setting("127.0.0.1:50051", "`host:port` of the gRPC service; port 0 for a free one.")
    tls_certificate: Path | None = _setting(
        None, "Certificate chain, PEM; renewed files are taken up without a restart.", shown="none: no TLS"
    )
    tls_key: Path | None = _setting(None, "Private key of the certificate, PEM.", shown="none")
    tls_client_ca: Path | None = _setting(
        None, "Authorities of client certificates, PEM: every client must then show one (mutual TLS).", shown="none"
    )
    tokens: Path | None = _setting(
        None, "File of the tokens that allow writing (`earthsignature tokens`).", shown="`<home>/tokens.json`"
    )
    plaintext_tokens: bool = _setting(
        False, "Take tokens from other machines without TLS, for a server behind a proxy that speaks it."
    )
    calls: int = _setting(256, "Calls at once.", at_least=1)
    calls_of_client: int = _setting(128, "Calls at once of one client; 0 for no limit.", at_least=0)
    calls_per_second: float = _setting(
        200.0, "Calls that one client may start a second, over time; 0 for no limit.", at_least=0
    )
    max_request_mib: int = _setting(4, "Largest request of a method that reads, in MiB.", at_least=1, at_most=1024)
    max_product_mib: int = _setting(128, "Largest request of CreateProduct, in MiB.", at_least=1, at_most=1024)
    cache_mib: int = _setting(64, "Memory for recently sent messages, in MiB.", at_least=0)
    public_url: str = _setting(
        "", "HTTP address of the store's files; answers then link the STAC item and the picture.", shown="none"
    )
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        home = self.home or Path.home() / "earthsignature"
        object.__setattr__(self, "home", home.expanduser().resolve())

    @classmethod
    def load(
        cls,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] = os.environ,
        *,
        home_file: bool = True,
    ) -> Self:
        """Read the settings from options, environment variables and a file.

        Args:
            options: values of command options by the name of the setting, and of `config`; None is not given.
            environment: the environment variables.
            home_file: read `earthsignature.toml` in the home where no other file is named.

        Raises:
            ConfigurationError: a value has the wrong type or is out of range, the file cannot be read, or one of its
                keys is not a setting.
        """
        given = {name: value for name, value in (options or {}).items() if value is not None}
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS.values():
            if setting.name in given:
                values[setting.name] = setting.checked(given[setting.name], f"option {setting.name}")
                sources[setting.name] = "option"
            elif text := environment.get(setting.variable, "").strip():
                values[setting.name] = setting.parse(text)
                sources[setting.name] = "environment"
        named = given.get("config") or environment.get(CONFIG_VARIABLE, "").strip()
        path = Path(named).expanduser() if named else cls(**values).home / SETTINGS_FILE
        if named or (home_file and path.is_file()):
            for name, value in _read_file(path, in_home=not named).items():
                if name not in values:
                    values[name], sources[name] = value, str(path)
        return cls(**values, sources=sources)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variables that give these settings to another process."""
        values = {setting.variable: getattr(self, name) for name, setting in SETTINGS.items()}
        return {variable: "" if value is None else str(value) for variable, value in values.items()}


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting.

    Attributes:
        name: name of the attribute, and key in the file.
        kind: its type.
        default: its default; None for one that the deployment computes.
        help: one sentence for people.
        shown: the default in words, where the value itself says little.
        secret: whether the value may carry a credential.
        at_least: smallest number.
        at_most: largest number.
    """

    name: str
    kind: type
    default: Any
    help: str
    shown: str
    secret: bool
    at_least: float | None
    at_most: float | None

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"EARTHSIGNATURE_{self.name.upper()}"

    @property
    def default_text(self) -> str:
        """The default for people, in Markdown."""
        if self.shown:
            return self.shown
        if isinstance(self.default, bool):
            return f"`{str(self.default).lower()}`"
        return f"`{self.default}`" if self.kind is str else f"{self.default:g}"

    def parse(self, text: str) -> Any:
        """Parse the text of the environment variable.

        Raises:
            ConfigurationError: the text is not of the setting's type, or the number is out of range.
        """
        try:
            value = _PARSERS[self.kind](text)
        except (ValueError, KeyError):
            raise ConfigurationError(f"{self.variable}={text!r} is not {_NOUNS[self.kind]}") from None
        return self.checked(value, self.variable)

    def checked(self, value: Any, where: str) -> Any:
        """Return a value of the setting's type.

        Args:
            value: an option's value or one of a TOML file.
            where: place of the value, for the message.

        Raises:
            ConfigurationError: the value is of another type, or the number is out of range.
        """
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is Path and isinstance(value, str | Path):
            value = Path(value).expanduser()
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            shown = "not shown" if self.secret else repr(value)
            raise ConfigurationError(f"{where} is of another type ({shown}): give {_NOUNS[self.kind]}")
        if isinstance(value, int | float):
            low, high = self.at_least, self.at_most
            if not ((low is None or value >= low) and (high is None or value <= high)):
                limits = f"at least {low:g}" + ("" if high is None else f" and at most {high:g}")
                raise ConfigurationError(f"{where} is {value}: give a number of {limits}")
        return value

    def display(self, settings: Settings) -> str | int | float | bool:
        """Return the value for people, with its credentials redacted; empty where it is not set."""
        value = getattr(settings, self.name)
        if value is None:
            return ""
        if isinstance(value, Path):
            return str(value)
        assert isinstance(value, str | int | float | bool)  # noqa: S101 - the types that are declared above
        return redacted(value) if self.secret and isinstance(value, str) else value


def redacted(address: str) -> str:
    """Replace the credentials of an address: the part before `@`, and the query."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    rest = re.sub(r"^.*@", "***@", rest, flags=re.DOTALL)
    return f"{scheme}://{re.sub(r'[?].*', '?***', rest, flags=re.DOTALL)}"


def _boolean(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


_PARSERS: Mapping[type, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _boolean, Path: Path}
_NOUNS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def _declared() -> dict[str, Setting]:
    kinds = {name: Path if hint == Path | None else hint for name, hint in get_type_hints(Settings).items()}
    return {
        one.name: Setting(one.name, kinds[one.name], one.default, **one.metadata)
        for one in fields(Settings)
        if one.metadata
    }


SETTINGS: Mapping[str, Setting] = _declared()
"""The declaration of every setting by its name, in the order of the documentation."""


def _read_file(path: Path, *, in_home: bool) -> dict[str, Any]:
    """Read a settings file; every key and type is checked."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"the settings file {path} cannot be read: {reason}") from error
    values = {}
    for key, value in content.items():
        if key not in SETTINGS:
            near = get_close_matches(key, SETTINGS, n=1, cutoff=0)
            raise ConfigurationError(
                f"{path}: {key} is not a setting, the nearest is {near[0]}; `earthsignature settings` lists all"
            )
        if key == "home" and in_home:
            raise ConfigurationError(
                f"{path}: home cannot be set by the file in the home; set EARTHSIGNATURE_HOME, or name the file by "
                f"{CONFIG_VARIABLE}"
            )
        values[key] = SETTINGS[key].checked(value, f"{path}: {key}")
    return values
