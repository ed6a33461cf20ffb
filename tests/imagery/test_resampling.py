import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.resampling import bilinear, nearest, source_rows

FINE = PixelGrid(32634, 643430.0, 5079050.0, 10.0, 80, 90)


def ramp(grid: PixelGrid, east: float, north: float) -> np.ndarray:
    """A plane over the ground: its value at a pixel's centre depends on where that centre truly lies."""
    x = grid.left_m + (np.arange(grid.width) + 0.5) * grid.resolution_m
    y = grid.top_m - (np.arange(grid.height) + 0.5) * grid.resolution_m
    plane = 20000 + east * (x[None, :] - 643430.0) + north * (y[:, None] - 5079050.0)
    return np.rint(plane).astype(np.uint16)


# Aligned as in full tiles; and half a coarse pixel off to the west and south, as in the real Hațeg crop.
@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize("rows", [slice(0, 90), slice(0, 16), slice(16, 48), slice(80, 90)])
def test_a_plane_stays_where_it_is(shift: float, rows: slice) -> None:
    coarse = PixelGrid(32634, FINE.left_m - shift, FINE.top_m - shift, 20.0, 41, 46)
    band = ramp(coarse, east=4.0, north=2.0)
    needed = source_rows(coarse, FINE, rows)
    resampled = bilinear(band[needed], needed, coarse, FINE, rows)
    expected = ramp(FINE, east=4.0, north=2.0)[rows]
    inside = (slice(2 if rows.start == 0 else 0, -2 if rows.stop == 90 else None), slice(2, -2))
    difference = resampled.astype(int)[inside] - expected.astype(int)[inside]
    assert np.abs(difference).max() <= 1  # rounding; half a pixel's shift would be 20 to 40


@given(st.integers(1, 40), st.sampled_from([0.0, 10.0]))
def test_rows_in_pieces_equal_the_whole(piece: int, shift: float) -> None:
    coarse = PixelGrid(32634, FINE.left_m - shift, FINE.top_m - shift, 20.0, 41, 46)
    band = np.random.default_rng(5).integers(1, 10000, coarse.shape, np.uint16)
    whole = bilinear(band, slice(0, 46), coarse, FINE, slice(0, 90))
    pieces = []
    for start in range(0, 90, piece):
        rows = slice(start, min(start + piece, 90))
        needed = source_rows(coarse, FINE, rows)
        pieces.append(bilinear(band[needed], needed, coarse, FINE, rows))
    assert np.array_equal(np.vstack(pieces), whole)


def test_classes_are_looked_up_and_never_mixed() -> None:
    coarse = dataclasses.replace(FINE, resolution_m=20.0, width=40, height=45)
    classes = np.random.default_rng(6).choice(np.array([0, 3, 11], np.uint8), coarse.shape)
    found = nearest(classes, coarse, FINE)
    assert np.array_equal(found, np.kron(classes, np.ones((2, 2), np.uint8)))
    assert np.array_equal(nearest(classes, coarse, FINE, slice(7, 20)), found[7:20])
