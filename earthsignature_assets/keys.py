"""Keys: tiles, scenes, model versions and product names.

The chain, the catalogue and the service share them, so they parse strictly: a key that does not match its grammar
never reaches a path, a URL or a query.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Self

from earthsignature_assets.errors import InvalidKeyError

_TILE = re.compile(r"(?:0?[1-9]|[1-5][0-9]|60)[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]")
# ASCII alone: other digits would spell a second name of the same product.
_SCENE_KEY = re.compile(r"(\d{4}-\d{2}-\d{2})_R(\d{3})_T(\d{2}[A-Z]{3})", re.ASCII)
_MODEL_VERSION = re.compile(r"(?=[a-z0-9-]{1,64}-v[0-9]+\Z)([a-z][a-z0-9]*(?:-[a-z0-9]+)*)-v([1-9]\d{0,5})", re.ASCII)
"""At most 64 characters of name: it names folders, partitions and columns."""
_PRODUCT_ID = re.compile(r"S2[A-Z]_MSIL(?:1C|2A)_\d{8}T\d{6}_N\d{4}_R(\d{3})_T(\d{2}[A-Z]{3})_\d{8}T\d{6}", re.ASCII)


def parse_tile(text: str) -> str:
    """Return the MGRS tile in its canonical form of five characters (`32TQM`, `01CCV`).

    Accepts a leading `T` as in product names. The grammar is that of the 100 km squares of MGRS
    (zone 01…60, latitude band C…X, column and row letters without I and O).

    Raises:
        InvalidKeyError: the text is not an MGRS tile.
    """
    tile = text.strip().upper()
    if len(tile) == 6 and tile.startswith("T"):
        tile = tile[1:]
    if not _TILE.fullmatch(tile):
        raise InvalidKeyError(f"{text[:100]!r} is not a Sentinel-2 tile: give an MGRS 100 km square such as 32TQM")
    return tile.zfill(5)


@dataclass(frozen=True, order=True)
class SceneKey:
    """One tile seen from one orbit on one day: `2026-05-01_R022_T32TQM`.

    The relative orbit is part of the key because at high latitudes two orbits see one tile on the same day.
    """

    day: dt.date
    relative_orbit: int
    tile: str

    def __post_init__(self) -> None:
        if not 1 <= self.relative_orbit <= 143:
            raise InvalidKeyError(f"relative orbit {self.relative_orbit} is outside 1…143 (Sentinel-2's cycle)")
        object.__setattr__(self, "tile", parse_tile(self.tile))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key back from its text form.

        Raises:
            InvalidKeyError: the text is not a scene key.
        """
        match = _SCENE_KEY.fullmatch(text)
        if match is None:
            raise InvalidKeyError(
                f"{text[:100]!r} is not a scene key: expected <sensing date>_R<relative orbit>_T<tile>, "
                "for example 2026-05-01_R022_T32TQM"
            )
        try:
            day = dt.date.fromisoformat(match[1])
        except ValueError as error:
            raise InvalidKeyError(f"{text[:100]!r} is not a scene key: {error}") from error
        return cls(day, int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.day.isoformat()}_R{self.relative_orbit:03d}_T{self.tile}"


@dataclass(frozen=True, order=True)
class ModelVersion:
    """One version of one model: `corine-unet-v1`."""

    name: str
    version: int

    def __post_init__(self) -> None:
        if not _MODEL_VERSION.fullmatch(str(self)):
            raise InvalidKeyError(
                f"{str(self)[:100]!r} is not a model version: give lower-case words joined by hyphens, at most "
                "64 characters, then -v and a number"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a model version back from its text form.

        Raises:
            InvalidKeyError: the text is not a model version.
        """
        match = _MODEL_VERSION.fullmatch(text)
        if match is None:
            raise InvalidKeyError(
                f"{text[:100]!r} is not a model version: expected <name>-v<number>, for example corine-unet-v1"
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.name}-v{self.version}"


DEFAULT_MODEL = ModelVersion("corine-unet", 2)
"""The newest model version of the package, and the default."""


def parse_product_id(text: str) -> str:
    """Return a Sentinel-2 product name without its `.SAFE` ending, checked against ESA's naming convention.

    Raises:
        InvalidKeyError: the text is not a Sentinel-2 product name.
    """
    name = text.removesuffix(".SAFE")
    if not _PRODUCT_ID.fullmatch(name):
        raise InvalidKeyError(
            f"{text[:100]!r} is not a Sentinel-2 product name such as "
            "S2B_MSIL2A_20220430T100019_N0400_R122_T33TXL_20220430T120209"
        )
    return name


def product_type_of(product_id: str) -> str:
    """Return the product type, `S2MSI1C` or `S2MSI2A`, in a Sentinel-2 product name.

    Raises:
        InvalidKeyError: the text is not a Sentinel-2 product name.
    """
    return f"S2{parse_product_id(product_id).split('_')[1].replace('MSIL', 'MSI')}"


def relative_orbit_of(product_id: str) -> int:
    """Return the relative orbit (1…143) in a Sentinel-2 product name.

    Raises:
        InvalidKeyError: the text is not a Sentinel-2 product name.
    """
    match = _PRODUCT_ID.fullmatch(parse_product_id(product_id))
    assert match is not None  # noqa: S101 - parse_product_id has matched the same pattern
    return int(match[1])
