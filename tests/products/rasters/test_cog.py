import resource
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio._env import get_gdal_config
from rio_cogeo.cogeo import cog_validate

from earthsignature_assets.errors import ProductError, StoreUnavailableError, UnknownClassError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.nomenclature import CLASSES
from earthsignature_assets.products.rasters import cog
from earthsignature_assets.products.rasters.cog import (
    Codec,
    class_areas,
    write_cloud_mask,
    write_confidence,
    write_land_cover,
)
from earthsignature_assets.products.rasters.shared_blocks import share_alike_blocks
from earthsignature_assets.products.rasters.thumbnail import write_thumbnail
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE

Swath = Callable[..., np.ndarray]
Part = Callable[..., PixelGrid]


@pytest.fixture
def land_cover(tmp_path: Path, swath_codes: Swath, part_of_tile: Part) -> Path:
    write_land_cover(tmp_path / "land_cover.tif", swath_codes(700, 601), part_of_tile(700, 601))
    return tmp_path / "land_cover.tif"


def test_land_cover_is_a_cog_on_its_grid(land_cover: Path, swath_codes: Swath, part_of_tile: Part) -> None:
    grid = part_of_tile(700, 601)
    with rasterio.open(land_cover) as raster:
        assert raster.profile["compress"] == "deflate"
        assert (raster.dtypes, raster.nodata, raster.crs.to_epsg()) == (("uint16",), 0, grid.epsg)
        assert raster.transform == grid.transform
        assert np.array_equal(raster.read(1), swath_codes(700, 601))
        assert raster.overviews(1) == [2]


def test_writing_a_raster_keeps_the_cache_of_other_threads(
    tmp_path: Path, swath_codes: Swath, part_of_tile: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(content: bytes) -> bytes:
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        return share_alike_blocks(content)

    monkeypatch.setattr(cog, "share_alike_blocks", look)
    with BLOCK_CACHE.held(300 << 20):
        write_land_cover(tmp_path / "land_cover.tif", swath_codes(64, 64), part_of_tile(64, 64))
        assert [*seen, get_gdal_config("GDAL_CACHEMAX")] == [300 << 20, 300 << 20]


def test_a_validator_accepts_the_cog(land_cover: Path) -> None:
    assert cog_validate(land_cover, strict=True, quiet=True) == (True, [], [])


@pytest.mark.parametrize("honest", [True, False])
def test_the_published_tile_of_2022_is_at_most_two_thirds_of_its_file(
    real_data: Path, tmp_path: Path, honest: bool
) -> None:
    published = real_data / "earthsignature_2022" / "33TXL_segmentation.tif"
    with rasterio.open(published) as raster:
        codes = raster.read(1)
    if honest:
        codes[codes == 511] = 0  # what lies outside the swath, 97.6 % of it, was labelled water courses
    grid = tile_grid("33TXL")
    write_land_cover(tmp_path / "land_cover.tif", codes, grid)
    assert (tmp_path / "land_cover.tif").stat().st_size <= 0.5 * published.stat().st_size
    with rasterio.open(tmp_path / "land_cover.tif") as raster:
        assert np.array_equal(raster.read(1), codes)


def test_the_denser_codec_is_a_choice(tmp_path: Path, swath_codes: Swath, part_of_tile: Part) -> None:
    codes = swath_codes(700, 601)
    sizes = {}
    for codec in Codec:
        write_land_cover(tmp_path / f"{codec}.tif", codes, part_of_tile(700, 601), codec)
        sizes[codec] = (tmp_path / f"{codec}.tif").stat().st_size
        with rasterio.open(tmp_path / f"{codec}.tif") as raster:
            assert raster.profile["compress"] == codec.value
            assert np.array_equal(raster.read(1), codes)
    assert sizes[Codec.ZSTD] < sizes[Codec.DEFLATE]


@pytest.mark.parametrize("code", [0, 523])
def test_one_value_everywhere(tmp_path: Path, part_of_tile: Part, code: int) -> None:
    codes, grid = np.full((1300, 1200), code, np.uint16), part_of_tile(1300, 1200)
    write_land_cover(tmp_path / "land_cover.tif", codes, grid)
    write_confidence(tmp_path / "confidence.tif", np.zeros(codes.shape, np.uint8), codes > 0, grid)
    for name, expected in (("land_cover.tif", code), ("confidence.tif", 0 if code else 255)):
        assert cog_validate(tmp_path / name, strict=True, quiet=True) == (True, [], [])
        with rasterio.open(tmp_path / name) as raster:
            assert (raster.read(1) == expected).all()
    # 16 blocks: of each size one that is full, one that is cut at the right, at the bottom, and at both.
    assert (tmp_path / "land_cover.tif").stat().st_size < 20_000


def test_overviews_never_mix_classes(land_cover: Path, swath_codes: Swath) -> None:
    with rasterio.open(land_cover, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= set(np.unique(swath_codes(700, 601)))


def test_the_file_contains_names_and_colours(land_cover: Path) -> None:
    with rasterio.open(land_cover) as raster:
        tags = raster.tags(1)
    assert tags["312"] == "Coniferous forest #00a600"
    assert len([tag for tag in tags if tag.isdigit()]) == len(CLASSES)


def test_readers_without_gdal_open_it(land_cover: Path, swath_codes: Swath) -> None:
    with Image.open(land_cover) as picture:
        assert np.array_equal(np.asarray(picture), swath_codes(700, 601))
    assert np.array_equal(np.asarray(cv2.imread(str(land_cover), cv2.IMREAD_UNCHANGED)), swath_codes(700, 601))


def test_the_same_pixels_give_the_same_bytes(land_cover: Path, swath_codes: Swath, part_of_tile: Part) -> None:
    again = land_cover.with_name("again.tif")
    write_land_cover(again, swath_codes(700, 601), part_of_tile(700, 601))
    assert again.read_bytes() == land_cover.read_bytes()


@pytest.mark.parametrize("code", [1, 110, 600, 65535])
def test_codes_outside_the_nomenclature_are_refused(tmp_path: Path, part_of_tile: Part, code: int) -> None:
    codes = np.full((4, 4), 311, np.uint16)
    codes[2, 1] = code
    with pytest.raises(UnknownClassError, match=str(code)):
        write_land_cover(tmp_path / "bad.tif", codes, part_of_tile(4, 4))
    assert not (tmp_path / "bad.tif").exists()


@pytest.mark.parametrize("codes", [np.zeros((4, 5), np.uint16), np.zeros((4, 4), np.uint8)])
def test_rasters_off_the_grid_are_refused(tmp_path: Path, part_of_tile: Part, codes: np.ndarray) -> None:
    with pytest.raises(ProductError, match=r"expected uint16 \(4, 4\)"):
        write_land_cover(tmp_path / "bad.tif", codes, part_of_tile(4, 4))


def test_a_full_disk_keeps_the_earlier_file(tmp_path: Path, swath_codes: Swath, part_of_tile: Part) -> None:
    path = tmp_path / "land_cover.tif"
    write_land_cover(path, swath_codes(100, 100), part_of_tile(100, 100))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreUnavailableError, match="disk has room"):
            write_land_cover(path, swath_codes(500, 600), part_of_tile(500, 600))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["land_cover.qml", "land_cover.tif"]


def test_a_missing_folder_is_named(tmp_path: Path, part_of_tile: Part) -> None:
    with pytest.raises(StoreUnavailableError, match="absent"):
        write_land_cover(tmp_path / "absent" / "a.tif", np.zeros((4, 4), np.uint16), part_of_tile(4, 4))


def test_confidence_is_no_data_at_pixels_without_a_class(tmp_path: Path, part_of_tile: Part) -> None:
    percent = np.array([[0, 100], [37, 0]], np.uint8)
    valid = np.array([[True, True], [True, False]])
    write_confidence(tmp_path / "confidence.tif", percent, valid, part_of_tile(2, 2))
    with rasterio.open(tmp_path / "confidence.tif") as raster:
        assert raster.nodata == 255
        assert raster.read(1).tolist() == [[0, 100], [37, 255]]
    with pytest.raises(ProductError, match="above 100"):
        write_confidence(tmp_path / "bad.tif", percent + np.uint8(1), valid, part_of_tile(2, 2))


def test_cloud_mask_at_20_m_keeps_every_cloud(tmp_path: Path, part_of_tile: Part) -> None:
    cloud = np.zeros((5, 7), bool)
    cloud[0, 1] = cloud[4, 6] = True
    grid = part_of_tile(5, 7)
    write_cloud_mask(tmp_path / "mask.tif", cloud, grid)
    with rasterio.open(tmp_path / "mask.tif") as raster:
        assert raster.read(1).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
        assert (raster.dtypes[0], raster.res) == ("uint8", (20.0, 20.0))
        assert (raster.transform.c, raster.transform.f) == (grid.left_m, grid.top_m)


def test_a_cloud_mask_at_20_m_is_written_unchanged(tmp_path: Path, part_of_tile: Part) -> None:
    cloud = np.eye(3, dtype=bool)
    write_cloud_mask(tmp_path / "mask.tif", cloud, part_of_tile(6, 6))
    with rasterio.open(tmp_path / "mask.tif") as raster:
        assert np.array_equal(raster.read(1), cloud)
    with pytest.raises(ProductError, match="cloud mask"):
        write_cloud_mask(tmp_path / "mask.tif", np.zeros((4, 6), bool), part_of_tile(6, 6))


def test_areas_exclude_no_data(part_of_tile: Part) -> None:
    codes = np.array([[0, 311, 311], [0, 0, 523]], np.uint16)
    assert class_areas(codes, part_of_tile(2, 3)) == {311: 200.0, 523: 100.0}


def test_thumbnail_is_a_small_picture_in_official_colours(tmp_path: Path, swath_codes: Swath) -> None:
    codes = swath_codes(700, 601)
    write_thumbnail(tmp_path / "thumbnail.png", codes)
    with Image.open(tmp_path / "thumbnail.png") as picture:
        assert max(picture.size) == 512
        colours = {colour for _, colour in picture.getcolors() or []}
    official = {entry.rgb for entry in CLASSES if entry.code in codes}
    assert colours == official | {(255, 255, 255)}
