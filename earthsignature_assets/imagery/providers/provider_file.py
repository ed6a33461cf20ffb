"""Providers from a configuration file: TOML with one table for each provider.

    [mirror]
    like = "earth-search"                       # everything left out is taken from that one
    api_url = "https://stac.example.org/v1"

    [archive]
    api_url = "https://stac.example.org/v1"
    collection = "s2-l2a"
    level = "L2A"                               # or L1C
    classification_asset = "SCL"                # leave it out if there is none
    offset_rule = "raster-bands"                # or earth-search-flag, baseline
    search_header = { name = "Authorization", variable = "ARCHIVE_TOKEN" }
    connections = 4
    s3 = { endpoint = "https://s3.example.org", key_variable = "ARCHIVE_KEY", secret_variable = "ARCHIVE_SECRET" }
    tokens = { url = "https://example.org/sas/token" }

    [archive.band_assets]
    B02 = "blue"                                # and so on, for every band of the model

Secrets stay in the environment; the file names the variables.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.providers.access import S3, Access, TokenService
from earthsignature_assets.imagery.providers.provider import PROVIDERS, OffsetRule, Provider, SearchHeader
from earthsignature_assets.sentinel2 import LEVELS

_TEXTS = ("api_url", "collection", "level", "classification_asset")
_TABLES: Mapping[str, type[S3] | type[TokenService] | type[SearchHeader]] = {
    "s3": S3,
    "tokens": TokenService,
    "search_header": SearchHeader,
}
_KEYS = ("like", *_TEXTS, "offset_rule", "connections", "band_assets", *_TABLES)
TableT = TypeVar("TableT", S3, TokenService, SearchHeader)


def known_providers(path: Path | None = None) -> dict[str, Provider]:
    """Return the built-in providers and those of a file, by name; the file wins where names are equal.

    Raises:
        ConfigurationError: the file cannot be read, or one of its tables does not describe a provider.
    """
    providers = dict(PROVIDERS)
    if path is not None:
        for name, table in _tables(path).items():
            providers[name] = _provider(path, name, table, providers)
    return providers


def provider_named(name: str, path: Path | None = None) -> Provider:
    """Return a known provider.

    Raises:
        ConfigurationError: no provider has that name, or the file cannot be used.
    """
    providers = known_providers(path)
    if name not in providers:
        raise ConfigurationError(f"there is no imagery provider {name!r}: choose one of {', '.join(providers)}")
    return providers[name]


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"provider file {path} cannot be read: {error}") from error
    for name, table in content.items():
        if not isinstance(table, dict):
            raise ConfigurationError(f"provider file {path}: {name} is outside of a table [name]")
    return content


def _provider(path: Path, name: str, table: Mapping[str, Any], known: Mapping[str, Provider]) -> Provider:
    where = f"provider file {path}, [{name}]"
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ConfigurationError(f"{where}: {', '.join(unknown)} is unknown; a provider has {', '.join(_KEYS)}")
    base: Provider | None = None
    if "like" in table:
        base = known.get(table["like"])
        if base is None:
            raise ConfigurationError(f"{where}: like is {table['like']!r}, must be one of {', '.join(known)}")
    values: dict[str, Any] = {key: _text(where, key, table[key]) for key in _TEXTS if key in table}
    if values.get("level", "L2A") not in LEVELS:
        raise ConfigurationError(f"{where}: level is {values['level']!r}, must be one of {', '.join(LEVELS)}")
    if "offset_rule" in table:
        try:
            values["offset_rule"] = OffsetRule(table["offset_rule"])
        except ValueError:
            rules = ", ".join(OffsetRule)
            raise ConfigurationError(
                f"{where}: offset_rule is {table['offset_rule']!r}, must be one of {rules}"
            ) from None
    if "band_assets" in table:
        bands = table["band_assets"]
        if not isinstance(bands, dict):
            raise ConfigurationError(f"{where}: band_assets must be a table of band = asset key")
        assets = dict(base.band_assets) if base else {}
        values["band_assets"] = assets | {band: _text(where, f"band_assets.{band}", key) for band, key in bands.items()}
    if "search_header" in table:
        values["search_header"] = _record(where, "search_header", table, SearchHeader)
    values["access"] = _access(where, table, base.access if base else Access())
    if base:
        return replace(base, name=name, **values)
    values.setdefault("classification_asset", "")
    needed = ("api_url", "collection", "level", "offset_rule", "band_assets")
    if missing := [key for key in needed if key not in values]:
        raise ConfigurationError(f"{where} lacks {', '.join(missing)}; add them, or a `like`")
    return Provider(name=name, **values)


def _access(where: str, table: Mapping[str, Any], base: Access) -> Access:
    connections = table.get("connections", base.connections)
    if not isinstance(connections, int) or isinstance(connections, bool) or connections < 1:
        raise ConfigurationError(f"{where}: connections is {connections!r}, must be an integer of at least 1")
    s3 = _record(where, "s3", table, S3) if "s3" in table else base.s3
    tokens = _record(where, "tokens", table, TokenService) if "tokens" in table else base.tokens
    return Access(connections, s3, tokens)


def _record(where: str, key: str, table: Mapping[str, Any], kind: type[TableT]) -> TableT:
    content = table[key]
    known = [entry.name for entry in fields(kind)]
    try:
        return kind(**content)
    except TypeError:
        raise ConfigurationError(f"{where}: {key} must be a table of {', '.join(known)}") from None


def _text(where: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{where}: {key} is {value!r}, must be text")
    return value
