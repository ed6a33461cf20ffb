"""The thumbnail of a product."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from earthsignature_assets.pictures import land_cover, overview, png
from earthsignature_assets.system.atomic import write_whole

_LONGEST_SIDE = 512


def write_thumbnail(path: Path, codes: npt.NDArray[np.uint16]) -> None:
    """Write CORINE codes, (height, width) uint16, as a PNG in their official colours; no data is white.

    Raises:
        StoreUnavailableError: the file cannot be written.
    """
    small = np.asarray(overview(codes, _LONGEST_SIDE, categorical=True), np.uint16)
    write_whole(path, png(land_cover(small)))
