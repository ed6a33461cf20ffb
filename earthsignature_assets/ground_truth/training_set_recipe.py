"""The recipe of a training set: a TOML file that names images, ground truth, and how to cut and split.

    name = "hateg"
    chip = 128              # side of a chip in pixels of 10 m
    cell_km = 2             # side of the cells that the split takes whole
    shares = { train = 0.6, validation = 0.2, test = 0.2 }

    [[images]]
    bands = "s2_hateg/bands"        # or scene = "2026-05-01_R022_T32TQM", or item = "S2B_34TFR.json"
    level = "L2A"

    [[truth]]
    polygons = "s2_hateg/labels/train_polys.shp"    # or raster = …, or points = …
    column = "class"
    scheme = "hateg.csv"

    [[patches]]
    folder = "eurosat"
    scheme = "eurosat"
    level = "L1C"

Relative paths start at the recipe's folder. Where several sources label a pixel, the finer of two that agree counts; a
pixel with contradicting labels is void.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earthsignature_assets.errors import GroundTruthError, UnknownClassError
from earthsignature_assets.ground_truth.label_scheme import LabelScheme, label_scheme
from earthsignature_assets.ground_truth.spatial_split import SHARES, Split
from earthsignature_assets.ground_truth.truth_sources import ClassRaster, Points, Polygons, TruthSource
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.sentinel2 import LEVELS

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
EUROSAT_BANDS = (2, 3, 4, 5, 6, 7, 8, 13, 11, 12)
"""Positions of the ten bands in a EuroSAT file: B8A is the last of the 13 (phelber/EuroSAT issue 7)."""


@dataclass(frozen=True)
class ImageEntry:
    """One image of a recipe: exactly one of `bands`, `scene` and `item` is set."""

    level: str
    region: str = ""
    bands: Path | None = None
    scene: str = ""
    item: str = ""
    offset: int = 0
    licence: str = ""


@dataclass(frozen=True)
class PatchEntry:
    """One folder of labelled patches."""

    folder: Path
    scheme: LabelScheme
    level: str
    bands: tuple[int, ...] = EUROSAT_BANDS
    region: str = ""
    licence: str = ""


@dataclass(frozen=True)
class TrainingSetRecipe:
    """The sources of a training set and how it is cut and split.

    Attributes:
        name: the name of the set, usable as a folder name.
        images: images to cut chips from.
        truth: sources of ground truth, for all images.
        patches: folders of patches that carry one label each.
        chip: side of the labelled square of a chip, in pixels.
        margin: unlabelled pixels around that square.
        fewest_pixels: smallest number of labelled pixels of a chip.
        cell_km: side of the cells of the split, in kilometres.
        guard_km: training samples nearer than this to a held-out sample are left out.
        shares: target share of each split.
        seed: seed of the split.
        classes: codes that must have pixels.
    """

    name: str
    images: tuple[ImageEntry, ...] = ()
    truth: tuple[TruthSource, ...] = ()
    patches: tuple[PatchEntry, ...] = ()
    chip: int = 128
    margin: int = 0
    fewest_pixels: int = 1
    cell_km: float = 10.0
    guard_km: float = 0.0
    shares: Mapping[Split, float] = field(default_factory=lambda: SHARES)
    seed: int = 0
    classes: tuple[int, ...] = ()


def read_recipe(path: Path) -> TrainingSetRecipe:
    """Read a recipe.

    Raises:
        GroundTruthError: the file cannot be read, or an entry is missing, unknown or does not fit.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroundTruthError(f"the recipe {path} cannot be read: {error}") from error
    try:
        return _recipe(content, path.parent)
    except (TypeError, ValueError, KeyError, UnknownClassError, GroundTruthError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise GroundTruthError(f"the recipe {path}: {reason}") from error


def _recipe(content: dict[str, Any], folder: Path) -> TrainingSetRecipe:
    name = str(content.pop("name"))
    if not _NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: use lower-case letters, digits, - and _ only")
    images = tuple(_image(entry, folder) for entry in content.pop("images", []))
    truth = tuple(_truth(entry, folder) for entry in content.pop("truth", []))
    patches = tuple(_patches(entry, folder) for entry in content.pop("patches", []))
    if not patches and not (images and truth):
        raise ValueError("images with truth, or patches, are needed")
    if bool(images) != bool(truth):
        raise ValueError("images need truth, and truth needs images")
    shares = {Split(split): float(share) for split, share in content.pop("shares", SHARES).items()}
    if Split.GUARD in shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError("shares must be positive numbers for train, validation and test")
    classes = tuple(class_of(int(code)).code for code in content.pop("classes", []))
    recipe = TrainingSetRecipe(name, images, truth, patches, shares=shares, classes=classes, **content)
    if recipe.chip < 16 or recipe.margin < 0 or recipe.cell_km <= 0 or recipe.guard_km < 0:
        raise ValueError("chip must be at least 16, margin and guard_km at least 0, cell_km more than 0")
    return recipe


def _image(entry: dict[str, Any], folder: Path) -> ImageEntry:
    if sum(key in entry for key in ("bands", "scene", "item")) != 1:
        raise ValueError("an image needs exactly one of bands, scene and item")
    if "bands" in entry:
        entry = entry | {"bands": folder / entry["bands"]}
    if "item" in entry and "://" not in entry["item"]:
        entry = entry | {"item": str(folder / entry["item"])}
    image = ImageEntry(**{"level": "L2A"} | entry)
    _check_level(image.level)
    return image


def _truth(entry: dict[str, Any], folder: Path) -> TruthSource:
    kinds = {"polygons": Polygons, "points": Points, "raster": ClassRaster}
    found = [kind for kind in kinds if kind in entry]
    if len(found) != 1:
        raise ValueError("a truth needs exactly one of polygons, points and raster")
    options = {key: value for key, value in entry.items() if key != found[0]}
    options.setdefault("name", Path(entry[found[0]]).name)
    options["scheme"] = label_scheme(str(options.pop("scheme")), folder)
    source: TruthSource = kinds[found[0]](path=folder / entry[found[0]], **options)
    return source


def _patches(entry: dict[str, Any], folder: Path) -> PatchEntry:
    scheme = label_scheme(str(entry["scheme"]), folder)
    options = {key: value for key, value in entry.items() if key not in ("folder", "scheme")}
    if "bands" in options:
        options["bands"] = tuple(int(band) for band in options["bands"])
        if len(options["bands"]) != 10:
            raise ValueError("patches need ten bands")
    patches = PatchEntry(folder / entry["folder"], scheme, **options)
    _check_level(patches.level)
    return patches


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is neither L1C nor L2A")
