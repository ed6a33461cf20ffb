import numpy as np
import numpy.typing as npt
import pytest
import rasterio.features
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthsignature_assets.products.polygons.regions import label_regions, mean_by_region, sieve_regions

CODES = [0, 111, 211, 523]
rasters = arrays(np.uint16, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from(CODES))


def pixels_of_shapes(codes: npt.NDArray[np.uint16]) -> list[tuple[int, int]]:
    """Return the code and size of every 4-connected region that rasterio finds."""
    found = []
    for shape, code in rasterio.features.shapes(codes, mask=codes != 0, connectivity=4):
        inside = rasterio.features.geometry_mask([shape], codes.shape, rasterio.Affine.identity(), invert=True)
        found.append((int(code), int(inside.sum())))
    return sorted(found)


@given(rasters)
@settings(max_examples=150, deadline=None)
def test_regions_are_those_of_rasterio(codes: npt.NDArray[np.uint16]) -> None:
    regions = label_regions(codes)
    assert sorted(zip(regions.codes.tolist(), regions.pixels.tolist(), strict=True)) == pixels_of_shapes(codes)
    assert np.array_equal(regions.raster(), codes)
    first_seen = [label for label in dict.fromkeys(regions.labels.ravel().tolist()) if label]
    assert first_seen == list(range(1, len(regions.codes) + 1))


@given(rasters, st.integers(2, 9))
@settings(max_examples=300, deadline=None)
def test_sieved_regions_are_whole_and_large_enough(codes: npt.NDArray[np.uint16], min_pixels: int) -> None:
    sieved = sieve_regions(label_regions(codes), min_pixels)
    raster = sieved.raster()
    assert np.array_equal(raster == 0, codes == 0)
    # A merged region is a region: labelling the raster again changes nothing.
    again = label_regions(raster)
    assert np.array_equal(again.labels, sieved.labels)
    assert np.array_equal(again.codes, sieved.codes)
    assert np.array_equal(again.pixels, sieved.pixels)
    # Only regions surrounded by no data may be too small.
    labels = sieved.labels
    for small in np.flatnonzero(sieved.pixels < min_pixels) + 1:
        rows, columns = np.nonzero(labels == small)
        around = {
            int(labels[row + down, column + right])
            for row, column in zip(rows, columns, strict=True)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
        }
        assert around <= {0, int(small)}


@given(rasters, st.integers(2, 9))
@settings(max_examples=100, deadline=None)
def test_large_regions_lose_no_pixel(codes: npt.NDArray[np.uint16], min_pixels: int) -> None:
    raw = label_regions(codes)
    large = np.isin(raw.labels[1:-1, 1:-1], np.flatnonzero(raw.pixels >= min_pixels) + 1)
    sieved = sieve_regions(label_regions(codes), min_pixels)
    assert np.array_equal(sieved.raster()[large], codes[large])


def test_small_regions_are_merged_into_the_largest_neighbour() -> None:
    codes = np.full((6, 9), 111, np.uint16)
    codes[:, 6:] = 211
    codes[3, 5:7] = 523  # two pixels between 35 of the one and 17 of the other
    assert (sieve_regions(label_regions(codes), 3).raster()[3, 5:7] == 111).all()


def test_clusters_of_small_regions_are_dissolved_too() -> None:
    """GDAL's sieve keeps them, because none has a neighbour that is large enough."""
    codes = np.zeros((8, 8), np.uint16)
    codes[1:7, 1:7] = np.where(np.indices((6, 6)).sum(axis=0) % 2, 311, 512)
    gdal = rasterio.features.sieve(codes, 25, mask=codes != 0, connectivity=4)
    assert len(label_regions(gdal).codes) > 1
    assert sieve_regions(label_regions(codes), 25).pixels.tolist() == [36]


def test_a_unit_of_one_pixel_changes_nothing() -> None:
    codes = np.array([[111, 211], [211, 111]], np.uint16)
    assert sieve_regions(label_regions(codes), 1).pixels.tolist() == [1, 1, 1, 1]


def test_means_are_taken_within_each_region() -> None:
    codes = np.array([[111, 111, 0, 111]], np.uint16)
    regions = label_regions(codes)
    assert mean_by_region(regions, np.array([[50, 100, 255, 10]], np.uint8)) == pytest.approx([75, 10])


def test_no_data_alone_has_no_region() -> None:
    regions = sieve_regions(label_regions(np.zeros((4, 5), np.uint16)), 25)
    assert len(regions.codes) == 0
    assert regions.pixels_by_code() == {}
