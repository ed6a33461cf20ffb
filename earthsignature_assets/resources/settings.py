"""What a deployment sets, with a default for each: environment variables that begin with EARTHSIGNATURE_."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.imagery.providers.provider import DEFAULT_PROVIDER


@dataclass(frozen=True)
class Settings:
    """A deployment.

    Attributes:
        home: folder of everything that is written (EARTHSIGNATURE_HOME).
        provider: name of the imagery provider (EARTHSIGNATURE_PROVIDER).
        provider_file: TOML file of further providers, empty for none (EARTHSIGNATURE_PROVIDER_FILE).
        stac_api: another address of the provider's STAC API, empty for its own (EARTHSIGNATURE_STAC_API).
        area: what discovery looks at: `europe`, MGRS tiles separated by commas, a WKT polygon in EPSG:4326, or a
            GeoJSON or WKT file (EARTHSIGNATURE_AREA).
        models: model repository; empty for `<home>/models` in front of the one that comes with the package
            (EARTHSIGNATURE_MODELS).
        triton: `host:port` of each Triton server, separated by commas; empty for the embedded engine
            (EARTHSIGNATURE_TRITON).
        store: the product store: a folder, or `s3://bucket/prefix`; empty for the home's own (EARTHSIGNATURE_STORE).
        catalogue: its catalogue: `postgresql://…` or a SQLite file; empty for the one in a store that is a folder
            (EARTHSIGNATURE_CATALOGUE).
        max_cloud_percent: most cloud that a scene's valid area may have (EARTHSIGNATURE_MAX_CLOUD_PERCENT).
        min_clear_percent: least part of a tile that must be clear (EARTHSIGNATURE_MIN_CLEAR_PERCENT).
        look_back_days: days before today that every morning's discovery covers (EARTHSIGNATURE_LOOK_BACK_DAYS).
        window_days: days that a scene stays a partition after it was last judged (EARTHSIGNATURE_WINDOW_DAYS).
        masks: name of the mask set: which classes hide the ground (EARTHSIGNATURE_MASKS).
        patch_days: days that patches stay (EARTHSIGNATURE_PATCH_DAYS).
        patch_budget_gb: gigabytes (10⁹ bytes) that all patches may take (EARTHSIGNATURE_PATCH_BUDGET_GB).
        min_area_ha: minimum mapping unit of the polygons in hectares (EARTHSIGNATURE_MIN_AREA_HA).
        tolerance_m: tolerance of their simplification in metres (EARTHSIGNATURE_TOLERANCE_M).
        codec: how rasters are compressed, `deflate` or `zstd` (EARTHSIGNATURE_CODEC).
        threads: threads of the embedded engine (EARTHSIGNATURE_THREADS).
    """

    home: Path
    provider: str = DEFAULT_PROVIDER
    provider_file: str = ""
    stac_api: str = ""
    area: str = "europe"
    models: str = ""
    triton: str = ""
    store: str = ""
    catalogue: str = ""
    max_cloud_percent: float = 60.0
    min_clear_percent: float = 5.0
    look_back_days: int = 7
    window_days: int = 90
    masks: str = "clouds"
    patch_days: float = 7.0
    patch_budget_gb: float = 200.0
    min_area_ha: float = 0.25
    tolerance_m: float = 10.0
    codec: str = "deflate"
    threads: int = 2

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings from environment variables.

        Raises:
            InvalidKeyError: a number does not parse.
        """
        given = {
            name: environment[variable]
            for name, variable in _VARIABLES.items()
            if environment.get(variable, "").strip() and name != "home"
        }
        numbers: dict[str, float | int] = {}
        for name, kind in _NUMBERS.items():
            if name in given:
                text = given.pop(name)
                try:
                    numbers[name] = kind(text)
                except ValueError:
                    raise InvalidKeyError(f"{_VARIABLES[name]}={text!r} is no number") from None
        home = Path(environment.get("EARTHSIGNATURE_HOME") or Path.home() / "earthsignature").expanduser().resolve()
        return cls(home=home, **given, **numbers)  # type: ignore[arg-type]

    def to_environment(self) -> dict[str, str]:
        """The environment variables that give these settings to another process."""
        return {variable: str(getattr(self, name)) for name, variable in _VARIABLES.items()}


_NUMBERS: Mapping[str, type[float] | type[int]] = {
    "max_cloud_percent": float,
    "min_clear_percent": float,
    "look_back_days": int,
    "window_days": int,
    "patch_days": float,
    "patch_budget_gb": float,
    "min_area_ha": float,
    "tolerance_m": float,
    "threads": int,
}
_VARIABLES = {name: f"EARTHSIGNATURE_{name.upper()}" for name in Settings.__dataclass_fields__}
