"""Training sets from recipes: samples, split, and remarks on unused labels."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.label_scheme import Statement
from earthsignature_assets.ground_truth.spatial_split import Split, cell_of
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import TrainingSetRecipe, read_recipe

RECIPE = """
name = "small"
chip = 16
cell_km = 0.2
seed = 3
shares = { train = 0.6, validation = 0.2, test = 0.2 }

[[images]]
bands = "."
level = "L2A"
region = "Nowhere"

[[truth]]
polygons = "truth.gpkg"
column = "class"
scheme = "mine.csv"
licence = "CC0"
"""
SCHEME = "label,code,level,note\nwood,313,2,\nfield,211,2,\nwater,512,1,\nbog,412,3,\ncloud,,,hides\n"


def recipe_of(scene: Any) -> TrainingSetRecipe:
    shapes = [
        (scene.area(0, 0, 64, 128), "wood"),
        (scene.area(64, 0, 128, 128), "field"),
        (scene.area(130, 0, 160, 128), "water"),
        (scene.area(60, 60, 68, 68), "cloud"),
    ]
    scene.write_polygons("truth.gpkg", shapes, 3035)
    (scene.folder / "mine.csv").write_text(SCHEME)
    (scene.folder / "recipe.toml").write_text(RECIPE)
    return read_recipe(scene.folder / "recipe.toml")


@pytest.fixture
def recipe(small_scene: Any) -> TrainingSetRecipe:
    return recipe_of(small_scene)


@pytest.fixture(scope="module")
def common_scene(new_scene: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return new_scene(tmp_path_factory.mktemp("common") / "scene")


@pytest.fixture(scope="module")
def made(common_scene: Any) -> TrainingSet:
    """A set that the tests of this module read and never change."""
    return build_training_set(
        recipe_of(common_scene), [common_scene.image], common_scene.folder.parent / "sets" / "small"
    )


def test_samples_carry_the_image_and_its_ground_truth(made: TrainingSet, common_scene: Any) -> None:
    assert len(made) == 8 * 10
    whole = common_scene.image.read(slice(0, 128), slice(0, 160))
    expected = np.array([313, 211, 512])[common_scene.kinds]
    expected[:, 128:130] = 0
    wrong = labelled = 0
    for number in made.numbers():
        row, truth = made.samples.iloc[number], made.truth(number)
        place = np.s_[row["row"] : row["row"] + 16, row["column"] : row["column"] + 16]
        assert np.array_equal(made.reflectance(number), whole[:, *place])
        wrong += int(((truth.codes != expected[place]) & (truth.codes > 0)).sum())
        labelled += int((truth.codes > 0).sum())
        assert not truth.codes[whole[:, *place].max(axis=0) == 0].any(), "no label where the image shows nothing"
        assert set(np.unique(truth.levels[truth.codes == 512])) <= {1}
    assert wrong == 0
    assert labelled == made.samples["labelled_pixels"].sum()


def test_the_split_is_by_whole_cells_and_stored_with_the_set(made: TrainingSet) -> None:
    cells = made.samples.groupby("cell")["split"].nunique()
    assert (cells == 1).all()
    assert set(made.samples["split"]) == {"train", "validation", "test"}
    centre = made.samples.iloc[7].geometry.centroid
    assert made.samples.iloc[7]["cell"] == cell_of(centre.x, centre.y, made.report["split"]["cell_km"])
    assert sum(len(made.numbers(split)) for split in Split) == len(made)


def test_the_report_holds_balance_provenance_and_remarks(made: TrainingSet) -> None:
    report = made.report
    assert [(entry["name"], entry["code"], entry["level"]) for entry in report["classes"]] == [
        ("21x", 211, 2),
        ("31x", 313, 2),
        ("5xx", 512, 1),
    ]
    for entry in report["classes"]:
        assert entry["pixels"] == entry["train"] + entry["validation"] + entry["test"] > 0
    assert sum(entry["share"] for entry in report["classes"]) == pytest.approx(1, abs=1e-3)
    assert report["classes_without_a_pixel"] == [412]
    assert report["truth"] == [{"name": "truth.gpkg", "scheme": "mine", "licence": "CC0"}]
    assert report["images"][0]["name"] == "small"
    reasons = {remark["reason"]: remark for remark in report["remarks"]}
    assert reasons["label cloud names no CORINE class (hides)"]["count"] == 1
    assert reasons["labelled, but the image shows no ground there"]["count"] == pytest.approx(8 * 158, abs=20)
    assert report["input_range"]["L2A"]["bands"][6][1] == pytest.approx(2600, abs=700)


def test_the_set_is_read_by_xarray_and_geopandas(made: TrainingSet) -> None:
    opened = xr.open_zarr(made.folder / "set.zarr", consolidated=False)
    assert opened["reflectance"].dims == ("sample", "band", "y", "x")
    assert opened["codes"].shape == (80, 16, 16)
    frame = geopandas.read_parquet(made.folder / "samples.parquet")
    assert frame.crs.to_epsg() == 4326
    assert frame.geometry.is_valid.all()


def test_the_item_is_valid_stac(made: TrainingSet, stac_faults: Callable[[dict[str, Any]], list[str]]) -> None:
    content = json.loads((made.folder / "item.json").read_text())
    assert stac_faults(content) == []
    item = pystac.Item.from_dict(content)
    item.set_self_href(str(made.folder / "item.json"))
    assert all(Path(asset.get_absolute_href() or "").exists() for asset in item.assets.values())
    assert content["properties"]["label:overviews"][0]["counts"][0]["name"] == "Arable land"


def test_the_same_recipe_gives_the_same_set_and_replaces_it(made: TrainingSet, common_scene: Any) -> None:
    again = build_training_set(recipe_of(common_scene), [common_scene.image], made.folder)
    assert again.identity == made.identity
    assert list(again.samples["split"]) == list(made.samples["split"])
    assert [path.name for path in made.folder.parent.iterdir()] == ["small"], "nothing half-made stays"


def test_a_fault_leaves_the_earlier_set(made: TrainingSet, small_scene: Any, recipe: TrainingSetRecipe) -> None:
    shutil.move(small_scene.folder / "B05.tif", small_scene.folder / "elsewhere.tif")
    with pytest.raises(GroundTruthError, match=r"B05\.tif"):
        build_training_set(recipe, [small_scene.image], made.folder)
    assert len(TrainingSet(made.folder)) == len(made)
    assert [path.name for path in made.folder.parent.iterdir()] == ["small"]


def test_a_margin_shows_unlabelled_surroundings(
    made: TrainingSet, small_scene: Any, recipe: TrainingSetRecipe, tmp_path: Path
) -> None:
    wide = build_training_set(replace(recipe, margin=8), [small_scene.image], tmp_path / "wide")
    assert wide.samples["labelled_pixels"].sum() == made.samples["labelled_pixels"].sum()
    middle = int(np.flatnonzero(wide.samples["name"] == "small/64_64")[0])
    assert wide.reflectance(middle).shape == (10, 32, 32)
    codes = wide.truth(middle).codes
    assert codes[8:24, 8:24].all()
    assert np.count_nonzero(codes) == 256
    corner = int(np.flatnonzero(wide.samples["name"] == "small/0_0")[0])
    assert wide.reflectance(corner).shape == (10, 24, 24)


def test_samples_fit_the_training(made: TrainingSet) -> None:
    sample = made.sample(made.numbers(Split.TRAIN)[0])
    assert (sample.source, sample.level) == ("small", "L2A")
    assert sample.reflectance.shape == (10, 16, 16)
    assert 12 < sample.longitude < 18


def test_labels_outside_every_image_are_an_error_with_the_reasons(
    small_scene: Any, recipe: TrainingSetRecipe, tmp_path: Path
) -> None:
    small_scene.write_polygons("truth.gpkg", [(small_scene.area(900, 0, 964, 128), "wood")])
    with pytest.raises(GroundTruthError, match=r"no pixel of any image is labelled \(truth.gpkg: 1 polygons outside"):
        build_training_set(recipe, [small_scene.image], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_required_class_without_a_pixel_is_an_error(
    small_scene: Any, recipe: TrainingSetRecipe, tmp_path: Path
) -> None:
    with pytest.raises(GroundTruthError, match="no pixel of 412 Peat bogs"):
        build_training_set(replace(recipe, classes=(313, 412)), [small_scene.image], tmp_path / "none")


def test_two_sources_that_contradict_each_other_are_void_and_counted(
    small_scene: Any, recipe: TrainingSetRecipe, tmp_path: Path
) -> None:
    small_scene.write_raster("cover.tif", np.full((128, 160), 10, np.uint8))
    text = RECIPE + '\n[[truth]]\nraster = "cover.tif"\nscheme = "worldcover"\n'
    (small_scene.folder / "both.toml").write_text(text)
    made = build_training_set(read_recipe(small_scene.folder / "both.toml"), [small_scene.image], tmp_path / "both")
    reasons = {remark["reason"]: remark["count"] for remark in made.report["remarks"]}
    # The field and the water, without the cloud's part: forest is what both say there.
    assert reasons["contradicts another source"] == pytest.approx(64 * 128 + 30 * 128, abs=150)
    assert {entry["code"] for entry in made.report["classes"]} == {313}


def test_patches_with_one_label_each(tmp_path: Path) -> None:
    for number, label in enumerate(("wood", "field", "road", "wood", "field", "wood")):
        path = tmp_path / "patches" / label / f"{label}_{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=8,
            height=8,
            count=10,
            dtype="uint16",
            crs=32633,
            transform=rasterio.Affine(10, 0, 500_000 + 9000 * number, 0, -10, 5_000_000),
        ) as dataset:
            dataset.write(np.full((10, 8, 8), 100 + number, np.uint16))
    (tmp_path / "mine.csv").write_text(SCHEME)
    (tmp_path / "recipe.toml").write_text(
        'name = "patches"\ncell_km = 1\n[[patches]]\nfolder = "patches"\nscheme = "mine.csv"\nlevel = "L1C"\n'
        "bands = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
    )
    made = build_training_set(read_recipe(tmp_path / "recipe.toml"), [], tmp_path / "set")
    assert len(made) == 5
    assert made.report["remarks"] == [
        {"source": "patches", "reason": "label road is not in the scheme mine", "count": 1, "what": "patches"}
    ]
    assert made.truth(0).counts() == {Statement(211, 2): 64}
    assert set(made.samples["level"]) == {"L1C"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("chip = 16", "chip = 1"), "chip must be at least 16"),
        (("chip = 16", "chips = 16"), "chips"),
        (('name = "small"', 'name = "../small"'), "lower-case letters"),
        (('name = "small"', ""), "'name' is missing|name is missing"),
        (("train = 0.6", "dev = 0.6"), "dev"),
        (('polygons = "truth.gpkg"', ""), "one of polygons, points and raster"),
        (('level = "L2A"', 'level = "L3"'), "neither L1C nor L2A"),
        (('scheme = "mine.csv"', 'scheme = "none.csv"'), "no label scheme"),
        (("[[truth]]", "[[patches]]"), "images need truth|folder"),
        (("seed = 3", "classes = [999]"), "999"),
        (('bands = "."', ""), "one of bands, scene and item"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_by_name(
    small_scene: Any, recipe: TrainingSetRecipe, change: tuple[str, str], message: str
) -> None:
    path = small_scene.folder / "wrong.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(GroundTruthError, match=message) as caught:
        read_recipe(path)
    assert "wrong.toml" in str(caught.value)


def test_an_absent_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="no training set"):
        TrainingSet(tmp_path)
