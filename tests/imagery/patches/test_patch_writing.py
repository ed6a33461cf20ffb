import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely.geometry import Polygon

from earthsignature_assets.errors import BandError, ItemError, ProviderUnavailableError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.masks.scene_mask import read_scene_mask
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.imagery.providers.provider import PROVIDERS
from earthsignature_assets.imagery.reading import scene_reader
from earthsignature_assets.imagery.reading.resampling import bilinear
from earthsignature_assets.imagery.scenes.band_asset import BandFile
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, simulate_scene


def read(href: str) -> np.ndarray:
    with rasterio.open(href) as dataset:
        pixels: np.ndarray = dataset.read(1)
        return pixels


@pytest.fixture
def store(scene: Scene, tmp_path: Path) -> PatchStore:
    write_patches(scene, S2_BANDS, tmp_path / "patches.zarr", patch_size=256)
    return PatchStore(tmp_path / "patches.zarr")


def test_ten_metre_bands_are_offset_once_and_nothing_else(scene: Scene, store: PatchStore) -> None:
    published = read(scene.parts[0].bands["B08"].href).astype(int)
    stack = store.reflectance(slice(None))
    valid = ~store.no_data()
    assert valid.mean() > 0.5
    assert np.array_equal(stack[S2_BANDS.index("B08")][valid], np.maximum(published[valid] - 1000, 1))


def test_outside_the_swath_everything_is_zero(simulated: SimulatedScene, store: PatchStore) -> None:
    with rasterio.open(simulated.truth) as dataset:
        outside = dataset.read(1) == 0
    assert outside.mean() == pytest.approx(0.25, abs=0.03)
    assert store.no_data()[outside].all()
    assert not store.reflectance(slice(None))[:, store.no_data()].any()
    assert (store.reflectance(slice(None))[:, ~store.no_data()] > 0).all()


def test_masks_lie_on_the_ten_metre_grid(scene: Scene, store: PatchStore) -> None:
    mask, _ = read_scene_mask(scene)
    unreliable = np.kron(mask.unreliable, np.ones((2, 2), bool))
    assert unreliable.any()
    assert np.array_equal(store.unreliable(), unreliable & ~store.no_data())


def test_any_tool_reads_the_store_as_a_georeferenced_dataset(scene: Scene, store: PatchStore) -> None:
    dataset = xr.open_zarr(store.path, chunks=None)
    assert dataset["reflectance"].dtype == np.uint16
    assert list(dataset["band"].values) == list(S2_BANDS)
    assert dataset.rio.crs.to_epsg() == scene.grid.epsg
    assert dataset.rio.bounds() == scene.grid.bounds
    assert dataset.rio.transform() == scene.grid.transform
    assert (dataset["reflectance"].rio.nodata, dataset["x"].attrs["units"]) == (0, "metre")
    nir = dataset["reflectance"].sel(band="B08").to_numpy()
    assert np.array_equal(nir, store.reflectance(slice(None))[S2_BANDS.index("B08")])


def test_the_dataset_is_clipped_masked_and_written_as_in_a_notebook(
    scene: Scene, store: PatchStore, tmp_path: Path
) -> None:
    dataset = xr.open_zarr(store.path, chunks=None)
    west, south, _, _ = scene.grid.bounds
    triangle = Polygon([(west, south), (west + 2000, south), (west, south + 1000)])
    clipped = dataset.rio.clip([triangle])
    assert dict(clipped.sizes) == {"band": 10, "y": 100, "x": 199}  # no pixel centre is inside the tip
    assert {name: array.dtype.name for name, array in clipped.items()} == {
        "reflectance": "uint16",
        "no_data": "bool",
        "unreliable": "bool",
    }
    assert not clipped["reflectance"].to_numpy()[:, 0, -1].any()
    ground = dataset["reflectance"].where(~dataset["no_data"] & ~dataset["unreliable"])
    assert ground.notnull().to_numpy()[0].mean() == pytest.approx(
        1 - (store.no_data() | store.unreliable()).mean(), abs=1e-6
    )
    dataset["reflectance"].sel(band=["B04", "B03", "B02"]).rio.to_raster(tmp_path / "rgb.tif")
    with rasterio.open(tmp_path / "rgb.tif") as raster:
        assert (raster.count, raster.nodata, raster.transform) == (3, 0, scene.grid.transform)
        assert np.array_equal(raster.read(1), store.reflectance(slice(None))[S2_BANDS.index("B04")])
    small = xr.open_zarr(store.path, group="overview", chunks=None)["reflectance"]
    assert small.rio.crs.to_epsg() == scene.grid.epsg
    sampled = dataset["reflectance"].sel(x=small["x"], y=small["y"])
    assert np.array_equal(small.to_numpy(), sampled.to_numpy())
    assert np.array_equal(small.to_numpy(), store.overview())


def test_patches_without_a_valid_pixel_take_no_space(scene: Scene, tmp_path: Path) -> None:
    summary = write_patches(scene, S2_BANDS, tmp_path / "small.zarr", patch_size=64)
    assert summary.patches == 100
    assert 60 < summary.patches_with_data < 85
    chunks = [path for path in (tmp_path / "small.zarr" / "reflectance" / "c").rglob("*") if path.is_file()]
    assert len(chunks) == summary.patches_with_data


@pytest.mark.parametrize("patch_size", [64, 200, 1024])
def test_the_patch_size_changes_no_pixel(scene: Scene, store: PatchStore, tmp_path: Path, patch_size: int) -> None:
    write_patches(scene, S2_BANDS, tmp_path / "other.zarr", patch_size=patch_size)
    other = PatchStore(tmp_path / "other.zarr")
    assert np.array_equal(other.reflectance(slice(None)), store.reflectance(slice(None)))
    assert np.array_equal(other.no_data(), store.no_data())
    assert np.array_equal(other.overview(), store.overview())


@pytest.mark.parametrize("columns", [1, 256])
def test_the_width_of_the_blocks_changes_no_pixel(
    scene: Scene, store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(scene_reader, "_BLOCK_COLUMNS", columns)
    done = []
    write_patches(scene, S2_BANDS, tmp_path / "other.zarr", 128, progress=lambda *rows: done.append(rows))
    other = PatchStore(tmp_path / "other.zarr")
    assert np.array_equal(other.reflectance(slice(None)), store.reflectance(slice(None)))
    assert np.array_equal(other.no_data(), store.no_data())
    assert np.array_equal(other.unreliable(), store.unreliable())
    assert np.array_equal(other.overview(), store.overview())
    assert done == [(128, 600), (256, 600), (384, 600), (512, 600), (600, 600)]


def test_both_offset_conventions_give_the_same_patches(scene: Scene, tmp_path: Path) -> None:
    stacks = []
    for applied in (False, True):
        recipe = SceneRecipe(scene.key, size=128, collection="sentinel-2-l2a", offset_applied=applied)
        made = simulate_scene(recipe, tmp_path / str(applied))
        item = scene_item(made.item, PROVIDERS["earth-search-l2a"], S2_BANDS)
        assert item.bands["B02"].offset_dn == (0 if applied else -1000)
        write_patches(Scene((item,)), S2_BANDS, tmp_path / f"{applied}.zarr")
        stacks.append(PatchStore(tmp_path / f"{applied}.zarr").reflectance(slice(None)).astype(int))
    assert np.abs(stacks[0] - stacks[1]).max() <= 1


def test_the_parts_of_a_split_scene_complete_each_other(scene: Scene, tmp_path: Path) -> None:
    item = scene.parts[0]
    halves = []
    assert item.classification is not None
    for name, kept in (("west", slice(0, 300)), ("east", slice(300, None))):
        bands = {}
        for band, file in {**item.bands, "SCL": item.classification}.items():
            with rasterio.open(file.href) as source:
                values, profile = source.read(1), source.profile
            part = np.zeros_like(values)
            columns = slice(kept.start * 10 // int(source.res[0]), kept.stop and kept.stop * 10 // int(source.res[0]))
            part[:, columns] = values[:, columns]
            path = tmp_path / f"{name}_{band}.tif"
            with rasterio.open(path, "w", **(profile | {"driver": "GTiff"})) as target:
                target.write(part, 1)
            bands[band] = BandFile(str(path), file.offset_dn)
        classification = bands.pop("SCL")
        halves.append(dataclasses.replace(item, item_id=name, bands=bands, classification=classification))
    write_patches(scene, S2_BANDS, tmp_path / "whole.zarr")
    write_patches(Scene(tuple(halves)), S2_BANDS, tmp_path / "halves.zarr")
    whole, joined = PatchStore(tmp_path / "whole.zarr"), PatchStore(tmp_path / "halves.zarr")
    assert np.array_equal(joined.no_data(), whole.no_data())
    nir = S2_BANDS.index("B08")
    assert np.array_equal(joined.reflectance(slice(None))[nir], whole.reflectance(slice(None))[nir])


def damaged(scene: Scene, how: str, folder: Path) -> Scene:
    item = scene.parts[0]
    source = Path(item.bands["B03"].href)
    target = folder / "B03.tif"
    match how:
        case "missing":
            target = folder / "nowhere.tif"
        case "truncated":
            target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        case "no raster":
            target.write_text("this is no raster")
        case "wrong grid":
            with rasterio.open(source) as dataset:
                profile = dataset.profile | {"driver": "GTiff", "transform": dataset.transform.translation(5, 5)}
            with rasterio.open(target, "w", **profile):
                pass
        case "wrong CRS":
            with rasterio.open(source) as dataset:
                profile = dataset.profile | {"driver": "GTiff", "crs": "EPSG:32633"}
            with rasterio.open(target, "w", **profile):
                pass
        case "all zero":
            with rasterio.open(source) as dataset:
                values, profile = dataset.read(1), dataset.profile | {"driver": "GTiff"}
            with rasterio.open(target, "w", **profile) as dataset:
                dataset.write(np.zeros_like(values), 1)
        case "wrong size":
            shutil.copy(item.bands["B05"].href, target)
            item = dataclasses.replace(item, grid=dataclasses.replace(item.grid, width=2000, height=2000))
    return Scene((dataclasses.replace(item, bands={**item.bands, "B03": BandFile(str(target), -1000)}),))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "how", ["missing", "truncated", "no raster", "wrong grid", "wrong CRS", "wrong size", "all zero"]
)
def test_a_damaged_band_is_named_and_leaves_nothing(scene: Scene, tmp_path: Path, how: str) -> None:
    broken = damaged(scene, how, tmp_path)
    with pytest.raises(BandError, match=broken.parts[0].item_id) as refusal:
        write_patches(broken, S2_BANDS, tmp_path / "patches.zarr")
    assert "band" in str(refusal.value)
    assert "materialise `discovered_items`" in str(refusal.value)
    assert not refusal.value.retryable
    assert [path.name for path in tmp_path.iterdir() if "zarr" in path.name] == []
    with pytest.raises(BandError, match="materialise `patches`"):
        PatchStore(tmp_path / "patches.zarr")


def test_a_store_of_an_earlier_layout_is_named_with_the_remedy(store: PatchStore) -> None:
    description = json.loads((store.path / "zarr.json").read_text())
    members = description["consolidated_metadata"]["metadata"]
    description["consolidated_metadata"]["metadata"] = {
        name: facts for name, facts in members.items() if not name.startswith("overview")
    }
    (store.path / "zarr.json").write_text(json.dumps(description))
    with pytest.raises(BandError, match="earlier layout: materialise `patches`"):
        PatchStore(store.path)


@pytest.mark.usefixtures("no_pauses")
def test_an_absent_server_is_retryable(scene: Scene, tmp_path: Path) -> None:
    gone = BandFile("http://127.0.0.1:9/B03.tif", -1000)
    item = dataclasses.replace(scene.parts[0], bands={**scene.parts[0].bands, "B03": gone})
    with pytest.raises(ProviderUnavailableError, match="B03") as fault:
        write_patches(Scene((item,)), S2_BANDS, tmp_path / "patches.zarr")
    assert fault.value.retryable


def test_a_scene_without_classification_is_refused(scene: Scene, tmp_path: Path) -> None:
    item = dataclasses.replace(scene.parts[0], classification=None)
    with pytest.raises(ItemError, match="SCL"):
        write_patches(Scene((item,)), S2_BANDS, tmp_path / "patches.zarr")


def test_a_classification_of_zeros_is_named(scene: Scene, tmp_path: Path) -> None:
    empty = tmp_path / "SCL.tif"
    classification = scene.parts[0].classification
    assert classification is not None
    with rasterio.open(classification.href) as dataset:
        profile, values = dataset.profile | {"driver": "GTiff"}, dataset.read(1)
    with rasterio.open(empty, "w", **profile) as dataset:
        dataset.write(np.zeros_like(values), 1)
    broken = Scene((dataclasses.replace(scene.parts[0], classification=BandFile(str(empty))),))
    with pytest.raises(BandError, match=rf"item {scene.parts[0].item_id}: band SCL .*no data everywhere.*materialise"):
        write_patches(broken, S2_BANDS, tmp_path / "patches.zarr")
    assert not (tmp_path / "patches.zarr").exists()


def test_the_real_crop_is_resampled_without_a_shift(real_data: Path, tmp_path: Path) -> None:
    """Its 20 m grid extends 10 m further west and south than the 10 m one; GDAL's warp is the reference."""
    bands = real_data / "s2_hateg_34TFR_20181016" / "bands"
    with rasterio.open(bands / "B02.tif") as fine, rasterio.open(bands / "B05.tif") as coarse:
        target = PixelGrid(32634, fine.transform.c, fine.transform.f, 10.0, fine.width, fine.height)
        source = PixelGrid(32634, coarse.transform.c, coarse.transform.f, 20.0, coarse.width, coarse.height)
        assert (source.left_m - target.left_m, source.bounds[1] - target.bounds[1]) == (-10.0, -10.0)
        values = coarse.read(1)
        warped = np.zeros(target.shape, np.float32)
        reproject(
            values.astype(np.float32),
            warped,
            src_transform=coarse.transform,
            src_crs=coarse.crs,
            dst_transform=fine.transform,
            dst_crs=fine.crs,
            resampling=Resampling.bilinear,
        )
        assumed = np.kron(values, np.ones((2, 2), np.int16))[: target.height, : target.width]
    ours = bilinear(values.astype(np.uint16), source.whole, source, target, target.whole)
    inside = (slice(8, -8), slice(8, -8))
    seen = (values > 0).all()
    assert seen
    difference = np.abs(ours[inside].astype(float) - warped[inside])
    assert difference.max() <= 1.0  # rounding only
    assert np.abs(assumed[inside] - warped[inside]).mean() > 20 * difference.mean()


def test_a_scene_without_classification_gets_the_cloud_models_masks(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("ukis_csmask")
    part = dataclasses.replace(scene.parts[0], product_type="S2MSI1C", classification=None)
    level_1 = Scene((part,))
    mask, grid = read_scene_mask(level_1)
    assert (grid.resolution_m, mask.no_data.shape) == (60.0, (100, 100))
    truth, _ = read_scene_mask(scene)
    assert mask.valid_percent == pytest.approx(truth.valid_percent, abs=4)
    write_patches(level_1, S2_BANDS, tmp_path / "patches.zarr")
    assert PatchStore(tmp_path / "patches.zarr").no_data().mean() == pytest.approx(
        1 - truth.valid_percent / 100, abs=0.04
    )
