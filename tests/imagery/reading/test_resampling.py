import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from earthsignature_assets.grid import PixelGrid, PixelWindow
from earthsignature_assets.imagery.reading.resampling import bilinear, nearest, source_window

FINE = PixelGrid(32634, 643430.0, 5079050.0, 10.0, 80, 90)


def ramp(grid: PixelGrid, east: float, north: float) -> np.ndarray:
    """Sample a plane over the ground at the pixels' true centres."""
    x = grid.left_m + (np.arange(grid.width) + 0.5) * grid.resolution_m
    y = grid.top_m - (np.arange(grid.height) + 0.5) * grid.resolution_m
    plane = 20000 + east * (x[None, :] - 643430.0) + north * (y[:, None] - 5079050.0)
    return np.rint(plane).astype(np.uint16)


def coarse_grid(shift: float) -> PixelGrid:
    return PixelGrid(32634, FINE.left_m - shift, FINE.top_m - shift, 20.0, 41, 46)


def resampled(band: np.ndarray, coarse: PixelGrid, window: PixelWindow) -> np.ndarray:
    """Resample a window from only the part of the band that it needs."""
    needed = source_window(coarse, FINE, window)
    return bilinear(band[needed.index], needed, coarse, FINE, window)


# Aligned as in full tiles; and half a coarse pixel off to the west and south, as in the real Hațeg crop.
@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize("rows", [slice(0, 90), slice(0, 16), slice(16, 48), slice(80, 90)])
@pytest.mark.parametrize("columns", [slice(0, 80), slice(17, 40)])
def test_a_plane_stays_where_it_is(shift: float, rows: slice, columns: slice) -> None:
    coarse, window = coarse_grid(shift), PixelWindow(rows, columns)
    found = resampled(ramp(coarse, east=4.0, north=2.0), coarse, window)
    expected = ramp(FINE, east=4.0, north=2.0)[window.index]
    inside = tuple(
        slice(2 if side.start == 0 else 0, -2 if side.stop == length else None)
        for side, length in zip(window.index, FINE.shape, strict=True)
    )
    difference = found.astype(int)[inside] - expected.astype(int)[inside]
    assert np.abs(difference).max() <= 1  # rounding; half a pixel's shift would be 20 to 40


@settings(deadline=None)
@given(rows_each=st.integers(7, 40), columns_each=st.integers(7, 80), shift=st.sampled_from([0.0, 10.0]))
def test_windows_equal_the_whole(rows_each: int, columns_each: int, shift: float) -> None:
    coarse = coarse_grid(shift)
    band = np.random.default_rng(5).integers(1, 65535, coarse.shape, np.uint16)
    whole = bilinear(band, coarse.whole, coarse, FINE, FINE.whole)
    for window in FINE.whole.split(rows_each, columns_each):
        assert np.array_equal(resampled(band, coarse, window), whole[window.index])


@settings(deadline=None)
@given(seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 10.0, 20.0]))
def test_every_value_is_rounded_to_the_nearest(seed: int, shift: float) -> None:
    """The shortcut for nested grids must give the same result."""
    coarse = coarse_grid(shift)
    band = np.random.default_rng(seed).integers(0, 65535, coarse.shape, np.uint16)
    rows = (np.arange(FINE.height) + 0.5) / 2 - shift / 20 - 0.5
    columns = (np.arange(FINE.width) + 0.5) / 2 + shift / 20 - 0.5
    true = map_coordinates(band.astype(float), np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    found = bilinear(band, coarse.whole, coarse, FINE, FINE.whole)
    assert np.abs(found - true).max() <= 0.5


def test_classes_are_resampled_by_nearest_neighbour() -> None:
    coarse = dataclasses.replace(FINE, resolution_m=20.0, width=40, height=45)
    classes = np.random.default_rng(6).choice(np.array([0, 3, 11], np.uint8), coarse.shape)
    found = nearest(classes, coarse, FINE)
    assert np.array_equal(found, np.kron(classes, np.ones((2, 2), np.uint8)))
    window = PixelWindow(slice(7, 20), slice(3, 31))
    assert np.array_equal(nearest(classes, coarse, FINE, window), found[window.index])
