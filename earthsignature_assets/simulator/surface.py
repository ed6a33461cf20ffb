"""Reflectance of the land: spectra mixed in each pixel, with texture, light and the blur of the optics."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.simulator.landscape import CODES, Land
from earthsignature_assets.simulator.noise import kernel, normal
from earthsignature_assets.simulator.signatures import signatures

Reflectance = npt.NDArray[np.float32]

HALO = 4
"""Rows around a block that its blur needs; even, so that 20 m cells stay whole."""

# Standard deviation of the point spread in 10 m pixels: the modulation transfer at Nyquist is about 0.2 to 0.3.
_BLUR = 0.65


@dataclass(frozen=True)
class BandPalette:
    """The spectra of one band, reflectance × 10000: `spectra` (48,), `axis_1` (8,), `axis_2` (8,), float32."""

    spectra: Reflectance
    axis_1: Reflectance
    axis_2: Reflectance

    @classmethod
    def of_band(cls, position: int) -> "BandPalette":
        """Return the palette of the band at a position of `S2_BANDS`."""
        table = {signature.code: signature for signature in signatures()}
        return cls(
            np.concatenate([table[code].spectra[:, position] for code in CODES]),
            np.array([table[code].axes[0, position] for code in CODES], np.float32),
            np.array([table[code].axes[1, position] for code in CODES], np.float32),
        )


def clear_reflectance(land: Land, palette: BandPalette, first_row: int, last_row: int) -> Reflectance:
    """Return surface reflectance × 10000 under a clear sky, (last_row − first_row, columns) float32 at 10 m."""
    begin, end = max(0, first_row - HALO), min(land.truth.shape[0], last_row + HALO)
    sharp = np.empty((end - begin, land.truth.shape[1]), np.float32)
    _mix(
        land.first[begin:end],
        land.second[begin:end],
        land.share[begin:end],
        land.grain_1[begin:end],
        land.grain_2[begin:end],
        land.light[begin:end],
        palette.spectra,
        palette.axis_1,
        palette.axis_2,
        sharp,
    )
    blurred = cv2.GaussianBlur(sharp, (5, 5), _BLUR, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred[first_row - begin : last_row - begin], np.float32)


@kernel
def _mix(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    share: npt.NDArray[np.uint8],
    grain_1: npt.NDArray[np.int8],
    grain_2: npt.NDArray[np.int8],
    light: npt.NDArray[np.uint8],
    spectra: Reflectance,
    axis_1: Reflectance,
    axis_2: Reflectance,
    out: Reflectance,
) -> None:
    rows, columns = out.shape
    for r in range(rows):
        for c in range(columns):
            weight = share[r, c] * np.float32(1.0 / 255.0)
            kind = first[r, c] // 6
            value = spectra[first[r, c]] * (np.float32(1.0) - weight) + spectra[second[r, c]] * weight
            value += (grain_1[r, c] * axis_1[kind] + grain_2[r, c] * axis_2[kind]) * np.float32(1.0 / 32.0)
            out[r, c] = max(value * light[r, c] * np.float32(1.0 / 128.0), np.float32(1.0))


@kernel
def digitise(
    reflectance: Reflectance,
    valid: npt.NDArray[np.bool_],
    rim: npt.NDArray[np.bool_],
    cells: int,
    offset: int,
    seed: int,
    row_0: int,
    out: npt.NDArray[np.uint16],
) -> None:
    """Convert reflectance × 10000 to digital numbers with the sensor's noise: 0 = no data, 1 on the rim.

    With the same seed the noise does not depend on the offset.

    Args:
        reflectance: (rows, columns) float32.
        valid: bool for each 20 m cell of the whole scene, true where it was observed.
        rim: bool for each 20 m cell of the whole scene, true for the stray 1 of the swath's edge.
        cells: pixels along the side of a 20 m cell: 2 at 10 m, 1 at 20 m.
        offset: offset added to reflectance × 10000, 0 or 1000.
        seed: the noise's seed.
        row_0: first row of the block in the scene.
        out: (rows, columns) uint16, overwritten.
    """
    rows, columns = reflectance.shape
    for r in range(rows):
        cell_row = (r + row_0) // cells
        for c in range(columns):
            if rim[cell_row, c // cells]:
                out[r, c] = 1
            elif not valid[cell_row, c // cells]:
                out[r, c] = 0
            else:
                value = reflectance[r, c]
                value += (5.0 + 0.006 * value) * normal(seed, c, r + row_0)
                out[r, c] = np.uint16(min(max(value + 0.5, 1.0), 20000.0)) + np.uint16(offset)
