"""Bring 20 m arrays onto the 10 m grid, where they truly lie.

The two grids of a full tile share their origin; those of a crop need not (they can start half a 20 m pixel apart),
so positions are computed from both grids' origins and never assumed.
"""

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.grid import PixelGrid


def source_rows(source: PixelGrid, target: PixelGrid, rows: slice, margin: int = 2) -> slice:
    """Return the rows of `source` that `rows` of `target` need for interpolation, clipped to the array."""
    factor = target.resolution_m / source.resolution_m
    shift = (source.top_m - target.top_m) / source.resolution_m
    first = int(np.floor(rows.start * factor + shift)) - margin
    last = int(np.ceil(rows.stop * factor + shift)) + margin
    start = min(max(0, first), source.height - 1)
    return slice(start, max(start + 1, min(source.height, last)))


def bilinear(
    array: npt.NDArray[np.uint16], array_rows: slice, source: PixelGrid, target: PixelGrid, rows: slice
) -> npt.NDArray[np.uint16]:
    """Resample part of a band bilinearly onto rows of the target grid; beyond its edge the last pixel is repeated.

    Args:
        array: (rows of `array_rows`, source.width) uint16.
        array_rows: which rows of the source grid `array` holds (see `source_rows`).
        source: the band's whole grid.
        target: the whole grid wanted.
        rows: which rows of the target grid are wanted, full width.

    Returns:
        (rows, target.width) uint16.
    """
    factor = target.resolution_m / source.resolution_m
    shift_x = (target.left_m - source.left_m) / source.resolution_m
    shift_y = (source.top_m - target.top_m) / source.resolution_m
    # Pixel centres: source = (target + 0.5) · factor + shift − 0.5.
    x0 = 0.5 * factor + shift_x - 0.5
    y0 = (rows.start + 0.5) * factor + shift_y - 0.5 - array_rows.start
    resampled = cv2.warpAffine(
        array,
        np.array([[factor, 0.0, x0], [0.0, factor, y0]]),
        (target.width, rows.stop - rows.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return resampled.astype(np.uint16, copy=False)


def nearest(
    array: npt.NDArray[np.bool_], source: PixelGrid, target: PixelGrid, rows: slice | None = None
) -> npt.NDArray[np.bool_]:
    """Look a mask or class array up at the centres of the target's pixels; nothing is ever mixed.

    Args:
        array: (source.height, source.width).
        source: the array's grid.
        target: the grid wanted.
        rows: which rows of the target; all by default.

    Returns:
        (rows, target.width), the type of `array`.
    """
    factor = target.resolution_m / source.resolution_m
    wanted = np.arange(target.height)[rows if rows is not None else slice(None)]
    y = np.floor((wanted + 0.5) * factor + (source.top_m - target.top_m) / source.resolution_m).astype(int)
    x = np.floor((np.arange(target.width) + 0.5) * factor + (target.left_m - source.left_m) / source.resolution_m)
    found: npt.NDArray[np.bool_] = array[
        np.clip(y, 0, source.height - 1)[:, None], np.clip(x.astype(int), 0, source.width - 1)[None, :]
    ]
    return found
