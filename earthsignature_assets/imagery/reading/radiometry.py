"""Conversion of digital numbers to reflectance × 10000, exactly once, with no data kept apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STRAY_DN = 1
"""Value of stray pixels at the swath's edge, in every band."""

_ROWS_AT_ONCE = 64
"""So few rows that a stack stays in the processor's cache between two passes."""


def harmonise(stack: npt.NDArray[np.uint16], offsets_dn: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Convert digital numbers to reflectance × 10000 in place, and return where there is no data.

    Args:
        stack: digital numbers, (bands, height, width) uint16; afterwards reflectance × 10000, at least 1 everywhere.
        offsets_dn: offset still to be added to each band.

    Returns:
        (height, width) bool, true where nothing was observed; derived before any offset is added.
    """
    no_data = np.empty(stack.shape[1:], bool)
    for first in range(0, stack.shape[1], _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        no_data[rows] = no_data_of(stack[:, rows], offsets_dn)
        for dn, offset_dn in zip(stack[:, rows], offsets_dn, strict=True):
            reflectance(dn, offset_dn, out=dn)
    return no_data


def no_data_of(stack: npt.NDArray[np.uint16], offsets_dn: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Find the pixels without an observation, before any offset is added.

    A pixel is no data if every band is 0 or 1, or if a band that still carries an offset is 0: such a band is at
    least 1 wherever it was observed. A band without an offset may be 0 on dark ground.

    Args:
        stack: digital numbers, (bands, height, width) uint16.
        offsets_dn: offset still to be added to each band.

    Returns:
        (height, width) bool.
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
    """Add a band's offset and return reflectance × 10000, uint16; at least 1, because 0 means no data.

    Source: ESA, Sentinel-2 processing baseline 04.00: L2A = (DN + BOA_ADD_OFFSET) / QUANTIFICATION_VALUE.

    Args:
        dn: digital numbers, (height, width) uint16.
        offset_dn: the offset to add.
        out: array for the result, of the shape of `dn`; a new one by default.
    """
    result = np.empty_like(dn) if out is None else out
    if offset_dn > 0:
        np.add(np.minimum(dn, 65535 - offset_dn), np.uint16(offset_dn), out=result)
        return result
    np.maximum(dn, np.uint16(1 - offset_dn), out=result)
    if offset_dn:
        np.subtract(result, np.uint16(-offset_dn), out=result)
    return result
