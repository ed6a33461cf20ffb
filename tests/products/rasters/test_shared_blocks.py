from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster
from rio_cogeo.cogeo import cog_validate

from earthsignature_assets.products.rasters.shared_blocks import share_alike_blocks


def cog(values: np.ndarray, **options: str) -> bytes:
    height, width = values.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": values.dtype}
    transform = rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)
    with MemoryFile() as pixels, MemoryFile() as file:
        with pixels.open(**profile, crs="EPSG:32633", transform=transform, nodata=0) as dataset:
            dataset.write(values, 1)
            dataset.update_tags(1, **{"312": "Coniferous forest"})
        copy_raster(pixels.name, file.name, **{"driver": "COG", "COMPRESS": "DEFLATE", "BLOCKSIZE": "128"} | options)
        content: bytes = file.read()
    return content


def corner(side: int = 700) -> np.ndarray:
    """Make a raster with a classified corner and one value elsewhere."""
    values = np.zeros((side, side), np.uint16)
    values[:200, :150] = np.random.default_rng(0).choice(np.array([311, 312, 512], np.uint16), (200, 150))
    return values


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared.tif"
    path.write_bytes(share_alike_blocks(cog(corner())))
    return path


def test_the_file_shrinks() -> None:
    whole = cog(corner(4000))
    assert len(share_alike_blocks(whole)) < 0.8 * len(whole)


def test_every_reader_sees_the_same_pixels(shared: Path) -> None:
    with rasterio.open(shared) as raster:
        assert np.array_equal(raster.read(1), corner())
        assert raster.tags(1) == {"312": "Coniferous forest"}
        levels = len(raster.overviews(1))
    for level in range(levels):
        whole = MemoryFile(cog(corner()))
        with rasterio.open(shared, overview_level=level) as ours, rasterio.open(whole, overview_level=level) as theirs:
            assert np.array_equal(ours.read(1), theirs.read(1))
    with Image.open(shared) as picture:
        assert np.array_equal(np.asarray(picture), corner())
    assert np.array_equal(np.asarray(cv2.imread(str(shared), cv2.IMREAD_UNCHANGED)), corner())
    assert np.array_equal(tifffile.imread(shared), corner())


def test_it_is_a_valid_cog(shared: Path) -> None:
    assert cog_validate(shared, strict=True, quiet=True) == (True, [], [])


def test_its_structure_claims_no_order_of_blocks(shared: Path) -> None:
    head = shared.read_bytes()[:300]
    assert b"LAYOUT=IFDS_BEFORE_DATA\nKNOWN_INCOMPATIBLE_EDITION=NO" in head
    assert b"BLOCK_" not in head


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 2, 40_000]), st.sampled_from(["uint8", "uint16"]))
@settings(max_examples=40, deadline=None)
def test_sharing_changes_no_pixel(height: int, width: int, values: int, dtype: str) -> None:
    pixels = np.random.default_rng(height * width).integers(0, values, (height, width)).astype(dtype)
    with MemoryFile(share_alike_blocks(cog(pixels))) as file, file.open() as raster:
        assert np.array_equal(raster.read(1), pixels)


def test_a_second_time_changes_nothing(shared: Path) -> None:
    assert share_alike_blocks(shared.read_bytes()) == shared.read_bytes()


@pytest.mark.parametrize(
    "content", [lambda: b"", lambda: b"MM\0*" + bytes(20), lambda: cog(corner(), BIGTIFF="YES")], ids=["", "MM", "big"]
)
def test_other_files_are_refused(content: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="not a classic"):
        share_alike_blocks(content())


def test_tiffs_that_are_not_cogs_are_refused(tmp_path: Path) -> None:
    for name, tiled, message in (("strips", False, "not a tiled TIFF"), ("tiles", True, "not a COG")):
        path = tmp_path / f"{name}.tif"
        profile = {"driver": "GTiff", "width": 300, "height": 300, "count": 1, "dtype": "uint8", "tiled": tiled}
        transform = rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)
        with rasterio.open(path, "w", transform=transform, **profile) as dataset:
            dataset.write(np.ones((300, 300), np.uint8), 1)
        with pytest.raises(ValueError, match=message):
            share_alike_blocks(path.read_bytes())
