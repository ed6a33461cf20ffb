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


def reflectance(dn: npt.NDArray[np.uint16], offset_dn: int) -> npt.NDArray[np.uint16]:
    """Add a band's offset: reflectance × 10000, uint16; at least 1, because 0 is kept for no data.

    Source: ESA, Sentinel-2 processing baseline 04.00: L2A = (DN + BOA_ADD_OFFSET) / QUANTIFICATION_VALUE.
    """
    if offset_dn == 0:
        return np.maximum(dn, 1)
    return np.clip(dn.astype(np.int32) + offset_dn, 1, 65535).astype(np.uint16)
