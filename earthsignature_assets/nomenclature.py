"""CORINE Land Cover: the 44 level-3 classes with their names and official colours.

Source: European Environment Agency, Copernicus Land Monitoring Service, CLC nomenclature and legend.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import UnknownClassError

NO_DATA = 0
"""The code of a pixel without a class: outside the swath, or not observed."""


@dataclass(frozen=True, order=True)
class LandCoverClass:
    """One CORINE level-3 class: its code (111…523), English name and official RGB colour."""

    code: int
    name: str
    rgb: tuple[int, int, int]

    @property
    def level_1(self) -> int:
        """Code of the level-1 class (1 artificial … 5 water)."""
        return self.code // 100

    @property
    def level_2(self) -> int:
        """Code of the level-2 class (11 urban fabric … 52 marine waters)."""
        return self.code // 10

    @property
    def slug(self) -> str:
        """The name as one lower-case word for metadata: `non_irrigated_arable_land`."""
        return "_".join(re.findall(r"[a-z]+", self.name.lower()))

    @property
    def hex_colour(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


CLASSES: tuple[LandCoverClass, ...] = (
    LandCoverClass(111, "Continuous urban fabric", (230, 0, 77)),
    LandCoverClass(112, "Discontinuous urban fabric", (255, 0, 0)),
    LandCoverClass(121, "Industrial or commercial units", (204, 77, 242)),
    LandCoverClass(122, "Road and rail networks and associated land", (204, 0, 0)),
    LandCoverClass(123, "Port areas", (230, 204, 204)),
    LandCoverClass(124, "Airports", (230, 204, 230)),
    LandCoverClass(131, "Mineral extraction sites", (166, 0, 204)),
    LandCoverClass(132, "Dump sites", (166, 77, 0)),
    LandCoverClass(133, "Construction sites", (255, 77, 255)),
    LandCoverClass(141, "Green urban areas", (255, 166, 255)),
    LandCoverClass(142, "Sport and leisure facilities", (255, 230, 255)),
    LandCoverClass(211, "Non-irrigated arable land", (255, 255, 168)),
    LandCoverClass(212, "Permanently irrigated land", (255, 255, 0)),
    LandCoverClass(213, "Rice fields", (230, 230, 0)),
    LandCoverClass(221, "Vineyards", (230, 128, 0)),
    LandCoverClass(222, "Fruit trees and berry plantations", (242, 166, 77)),
    LandCoverClass(223, "Olive groves", (230, 166, 0)),
    LandCoverClass(231, "Pastures", (230, 230, 77)),
    LandCoverClass(241, "Annual crops associated with permanent crops", (255, 230, 166)),
    LandCoverClass(242, "Complex cultivation patterns", (255, 230, 77)),
    LandCoverClass(
        243,
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        (230, 204, 77),
    ),
    LandCoverClass(244, "Agro-forestry areas", (242, 204, 166)),
    LandCoverClass(311, "Broad-leaved forest", (128, 255, 0)),
    LandCoverClass(312, "Coniferous forest", (0, 166, 0)),
    LandCoverClass(313, "Mixed forest", (77, 255, 0)),
    LandCoverClass(321, "Natural grasslands", (204, 242, 77)),
    LandCoverClass(322, "Moors and heathland", (166, 255, 128)),
    LandCoverClass(323, "Sclerophyllous vegetation", (166, 230, 77)),
    LandCoverClass(324, "Transitional woodland-shrub", (166, 242, 0)),
    LandCoverClass(331, "Beaches, dunes, sands", (230, 230, 230)),
    LandCoverClass(332, "Bare rocks", (204, 204, 204)),
    LandCoverClass(333, "Sparsely vegetated areas", (204, 255, 204)),
    LandCoverClass(334, "Burnt areas", (0, 0, 0)),
    LandCoverClass(335, "Glaciers and perpetual snow", (166, 230, 204)),
    LandCoverClass(411, "Inland marshes", (166, 166, 255)),
    LandCoverClass(412, "Peat bogs", (77, 77, 255)),
    LandCoverClass(421, "Salt marshes", (204, 204, 255)),
    LandCoverClass(422, "Salines", (230, 230, 255)),
    LandCoverClass(423, "Intertidal flats", (166, 166, 230)),
    LandCoverClass(511, "Water courses", (0, 204, 242)),
    LandCoverClass(512, "Water bodies", (128, 242, 230)),
    LandCoverClass(521, "Coastal lagoons", (0, 255, 166)),
    LandCoverClass(522, "Estuaries", (166, 255, 230)),
    LandCoverClass(523, "Sea and ocean", (230, 242, 255)),
)

LEVEL_1_NAMES = {
    1: "Artificial surfaces",
    2: "Agricultural areas",
    3: "Forest and semi-natural areas",
    4: "Wetlands",
    5: "Water bodies",
}

LEVEL_2_NAMES = {
    11: "Urban fabric",
    12: "Industrial, commercial and transport units",
    13: "Mine, dump and construction sites",
    14: "Artificial, non-agricultural vegetated areas",
    21: "Arable land",
    22: "Permanent crops",
    23: "Pastures",
    24: "Heterogeneous agricultural areas",
    31: "Forests",
    32: "Scrub and/or herbaceous vegetation associations",
    33: "Open spaces with little or no vegetation",
    41: "Inland wetlands",
    42: "Maritime wetlands",
    51: "Inland waters",
    52: "Marine waters",
}

CODES: tuple[int, ...] = tuple(entry.code for entry in CLASSES)
_BY_CODE = {entry.code: entry for entry in CLASSES}
_BY_NAME = {entry.name.casefold(): entry for entry in CLASSES}


def class_of(code: int) -> LandCoverClass:
    """Return the class of a level-3 code.

    Raises:
        UnknownClassError: the code is none of the 44.
    """
    try:
        return _BY_CODE[code]
    except KeyError:
        raise UnknownClassError(f"{code} is not a CORINE level-3 code (111…523, 44 classes)") from None


def name_at_level(code: int, level: int) -> str:
    """Return the name of a level-3 code's class of level 1, 2 or 3: 313 is "Mixed forest", "Forests" at level 2.

    Raises:
        UnknownClassError: the code is none of the 44.
    """
    entry = class_of(code)
    return {1: LEVEL_1_NAMES[entry.level_1], 2: LEVEL_2_NAMES[entry.level_2], 3: entry.name}[level]


def parse_class(text: str) -> LandCoverClass:
    """Parse a class from its level-3 code or official English name, in any case.

    Raises:
        UnknownClassError: the text is none of the 44.
    """
    wanted = text.strip()
    if wanted.isascii() and wanted.isdigit():
        return class_of(int(wanted))
    try:
        return _BY_NAME[" ".join(wanted.split()).casefold()]
    except KeyError:
        raise UnknownClassError(
            f"{text!r} is not a CORINE class: give a level-3 code such as 312, or its official name"
        ) from None


def class_mask(codes: Iterable[int]) -> int:
    """Pack a set of codes into 44 bits for the catalogue; bit k is the k-th class of the legend.

    Raises:
        UnknownClassError: a code is none of the 44.
    """
    return sum(1 << CODES.index(class_of(code).code) for code in set(codes))


@lru_cache(maxsize=65_536)
def codes_of_mask(mask: int) -> frozenset[int]:
    """Unpack the codes that `class_mask` packed."""
    return frozenset(code for position, code in enumerate(CODES) if mask >> position & 1)


@cache
def palette() -> npt.NDArray[np.uint8]:
    """Return a look-up table of RGB by code: (1000, 3) uint8; codes without a class are white, as clients expect."""
    table = np.full((1000, 3), 255, np.uint8)
    for entry in CLASSES:
        table[entry.code] = entry.rgb
    table.flags.writeable = False
    return table


@cache
def known_codes() -> npt.NDArray[np.bool_]:
    """Return a look-up table of valid codes, the 44 and no data: (65536,) bool."""
    table = np.zeros(65536, bool)
    table[[NO_DATA, *CODES]] = True
    table.flags.writeable = False
    return table
