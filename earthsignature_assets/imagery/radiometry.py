"""From a band's digital numbers to reflectance × 10000, exactly once, no data kept apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STRAY_DN = 1
"""The swath's edge has pixels of 1 in every band."""


def no_data_of(bands: Sequence[npt.NDArray[np.uint16]], offsets_dn: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels hold no observation, before any offset is applied.

    A pixel is no data where every band is 0 or 1, and where a band that still carries an offset is 0: such a band
    holds at least 1 wherever it was observed. A band without offset may be 0 on dark ground.

    Args:
        bands: digital numbers, each (height, width) uint16.
        offsets_dn: what is still to be added to each band.
    """
    empty = np.ones(bands[0].shape, bool)
    for band in bands:
        empty &= band <= _STRAY_DN
    for band, offset_dn in zip(bands, offsets_dn, strict=True):
        if offset_dn < 0:
            empty |= band == 0
    return empty


def reflectance(
    dn: npt.NDArray[np.uint16], offset_dn: int, out: npt.NDArray[np.uint16] | None = None
) -> npt.NDArray[np.uint16]:
    """Add a band's offset: reflectance × 10000, uint16; at least 1, because 0 is kept for no data.

    Source: ESA, Sentinel-2 processing baseline 04.00: L2A = (DN + BOA_ADD_OFFSET) / QUANTIFICATION_VALUE.

    Args:
        dn: digital numbers, (height, width) uint16.
        offset_dn: what is to be added.
        out: where the result goes, of the shape of `dn`; a new array by default.
    """
    result = np.empty_like(dn) if out is None else out
    if offset_dn > 0:
        np.add(np.minimum(dn, 65535 - offset_dn), np.uint16(offset_dn), out=result)
        return result
    np.maximum(dn, np.uint16(1 - offset_dn), out=result)
    if offset_dn:
        np.subtract(result, np.uint16(-offset_dn), out=result)
    return result
