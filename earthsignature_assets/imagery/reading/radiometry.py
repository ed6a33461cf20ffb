"""From a band's digital numbers to reflectance × 10000, exactly once, no data kept apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STRAY_DN = 1
"""The swath's edge has pixels of 1 in every band."""

_ROWS_AT_ONCE = 64
"""So few that a stack's numbers are still in the processor's cache when they are looked at again."""


def harmonise(stack: npt.NDArray[np.uint16], offsets_dn: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Turn digital numbers into reflectance × 10000 in place, and tell where there is no data: that comes first.

    Args:
        stack: digital numbers, (bands, height, width) uint16; afterwards reflectance × 10000, at least 1 everywhere.
        offsets_dn: what is still to be added to each band.

    Returns:
        (height, width) bool, where nothing was observed.
    """
    no_data = np.empty(stack.shape[1:], bool)
    for first in range(0, stack.shape[1], _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        no_data[rows] = no_data_of(stack[:, rows], offsets_dn)
        for dn, offset_dn in zip(stack[:, rows], offsets_dn, strict=True):
            reflectance(dn, offset_dn, out=dn)
    return no_data


def no_data_of(stack: npt.NDArray[np.uint16], offsets_dn: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell which pixels hold no observation, before any offset is applied.

    A pixel is no data where every band is 0 or 1, and where a band that still carries an offset is 0: such a band
    holds at least 1 wherever it was observed. A band without offset may be 0 on dark ground.

    Args:
        stack: digital numbers, (bands, height, width) uint16.
        offsets_dn: what is still to be added to each band.
    """
    empty: npt.NDArray[np.bool_] = stack.max(axis=0) <= _STRAY_DN
    carries_offset = np.array(offsets_dn) < 0
    if carries_offset.all():
        empty |= stack.min(axis=0) == 0
    elif carries_offset.any():
        empty |= stack[carries_offset].min(axis=0) == 0
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
