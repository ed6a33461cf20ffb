"""The data of the shipped model as a training set of the platform: EuroSAT patches and the labelled Hațeg scene."""

from pathlib import Path

from earthsignature_assets.ground_truth.chips import BandFiles
from earthsignature_assets.ground_truth.label_scheme import LabelScheme, Statement, label_scheme
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import PatchEntry, TrainingSetRecipe
from earthsignature_assets.ground_truth.truth_sources import Polygons

_HATEG_SCHEME = LabelScheme(
    "hateg",
    {
        "agriculture": Statement(211, 2),
        "construction": Statement(121, 2, 112),
        "forest": Statement(313, 2),
        "pasture": Statement(231, 2, 321),
        "water": Statement(512, 1),
    },
    {},
)
"""Meaning of the labels of the Hațeg polygons: built-up and pasture leave the level-2 class open."""


def training_set(data: Path, folder: Path) -> TrainingSet:
    """Build the training set of the data folder: one half for training, the other for the test, split by cells of 2 km.

    Args:
        data: the folder of `eurosat_ms_geotorchai` and `s2_hateg_34TFR_20181016`.
        folder: the folder of the set to write.

    Raises:
        GroundTruthError: a part cannot be read.
    """
    scene = data / "s2_hateg_34TFR_20181016"
    polygons = Polygons(scene / "labels" / "train_polys.shp", "train_polys", "class", _HATEG_SCHEME)
    recipe = TrainingSetRecipe(
        name="corine-unet",
        truth=(polygons,),
        patches=(PatchEntry(data / "eurosat_ms_geotorchai", label_scheme("eurosat"), "L1C", licence="MIT"),),
        chip=192,
        cell_km=2,
        shares={Split.TRAIN: 0.5, Split.TEST: 0.5},
    )
    return build_training_set(recipe, [BandFiles(scene / "bands", "L2A", scene.name)], folder)
