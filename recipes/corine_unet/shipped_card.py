"""The card of the shipped model in Markdown: its data, classes, figures and limits. Published cards keep their text."""

from collections.abc import Mapping, Sequence
from typing import Any

from earthsignature_assets.evaluation.markdown import markdown_table
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.nomenclature import class_of

FROM_DYNAMIC_WORLD = "U-Net from Dynamic World"
"""Name of the architecture with Dynamic World's initial weights, whose notice the card repeats."""


def card(description: ModelDescription, evaluation: Mapping[str, Any]) -> str:
    """Write the card of a version.

    Args:
        description: the version's `model.json`.
        evaluation: the version's `evaluation.json`.
    """
    training = evaluation["training"]
    sections = [
        f"# {description.model}",
        f"A small {description.architecture} that tells land cover from one Sentinel-2 level-2A image. Written by "
        "`python -m recipes.corine_unet.train`; every figure below is in `evaluation.json`.",
        _needs(description, evaluation),
        _classes(description),
        "## Training data",
        _TRAINING_DATA + (_PRETRAINED if description.architecture == FROM_DYNAMIC_WORLD else ""),
        f"{training['samples']} samples; {training['epochs']} epochs of {training['tile_side']} × "
        f"{training['tile_side']} pixel tiles, seed {training['seed']}, "
        f"{training['parameters']:,} parameters, {training['seconds'] / 60:.0f} minutes on "
        f"{_threads(training['threads'])}. Level-1C patches lose a random share of their path radiance; all tiles get "
        "random gains, offsets and noise, are turned and mirrored, and are put together as mosaics with borders of "
        "natural shape.",
        *([training["notes"]] if "notes" in training else []),
        _patch_figures(evaluation["eurosat"]),
        *([_polygon_figures(evaluation["hateg_folds"])] if "hateg_folds" in evaluation else []),
        _scene_figures(evaluation["hateg"]),
        _level_figures(evaluation["level_agreement"]),
        "## Limits",
        _LIMITS,
        "## File",
        f"`model.onnx`, SHA-256 `{description.sha256}`.",
    ]
    return "\n\n".join(sections) + "\n"


def _needs(description: ModelDescription, evaluation: Mapping[str, Any]) -> str:
    speed = evaluation["speed"]
    lines = [
        "## What it needs",
        "",
        f"- Bands: {', '.join(description.bands)}, {description.level} reflectance × 10000 as uint16 after the "
        f"baseline's offset, 0 = no data, at {description.resolution_m:g} m.",
        f"- Height and width in multiples of {description.stride}. One output sees {description.receptive_field} × "
        f"{description.receptive_field} pixels (measured by perturbation, equal to the formula); with a halo of "
        f"{description.halo} pixels and origins on the stride, tiles equal the whole image exactly.",
        f"- Time: {speed['seconds_per_1024']:.2f} s for 1024 × 1024 pixels on {_threads(speed['threads'])} of ONNX "
        f"Runtime, so {speed['minutes_per_tile_with_halo']:.1f} minutes for a full tile of 10980 × 10980 pixels with "
        "its halo, the reading and writing not counted.",
    ]
    return "\n".join(lines)


def _threads(number: int) -> str:
    return "one thread" if number == 1 else f"{number} threads"


def _classes(description: ModelDescription) -> str:
    rows = [
        (index, entry.code, class_of(entry.code).name, entry.supported_level, entry.meaning)
        for index, entry in enumerate(description.classes, 1)
    ]
    return "\n\n".join(
        [
            "## Classes",
            "The supported level is how much of the code the ground truth can confirm: a code of level 2 stands for "
            "its whole level-2 class, one of level 1 for its whole level-1 class. No other class is claimed.",
            markdown_table(("Index", "Code", "CORINE class", "Supported level", "What was learnt"), rows),
        ]
    )


def _patch_figures(figures: Mapping[str, Any]) -> str:
    return "\n\n".join(
        [
            "## Held-out figures: EuroSAT, folds grouped by place",
            f"{figures['folds']}-fold cross-validation; patches closer than {figures['apart_km']:g} km share a fold; "
            f"{figures['epochs']} epochs a fold. The figures sum over the folds' own networks, which saw polygons of "
            "Hațeg too; the shipped network is trained on all patches.",
            _table(
                "pixels that carry their patch's label (level-1C with 1 × typical path radiance taken off)",
                figures["pixels"],
            ),
            _table(
                "patches, by their most frequent class (River: among its water pixels)",
                figures["patches"],
            ),
        ]
    )


def _polygon_figures(figures: Mapping[str, Any]) -> str:
    return "\n\n".join(
        [
            "## Held-out figures: Hațeg, level-2A, folds of polygons",
            f"The same folds' networks on {len(figures['answers'])} polygons, each judged by the network that has not "
            "seen it; the shipped network is trained on two thirds of them.",
            _table("pixels, five classes", figures),
        ]
    )


def _scene_figures(figures: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{code} {share:.1%}" for code, share in figures["share"].items())
    shifts = [(shift["shift"], f"{shift['overall_accuracy']:.1%}") for shift in figures["level_shifts"]]
    return "\n\n".join(
        [
            "## Held-out figures: Hațeg, level-2A, the polygons that training never saw",
            f"{len(figures['held_out_polygons'])} of 59 polygons, one third of every label; their pixels were blank in "
            "training. The labels confirm five classes: artificial (112, 121), arable (211, 222), grassland "
            "(231, 321), forest (313), water (512).",
            _table("pixels, five classes", figures["pixels_grouped"]),
            _table("polygons by their most frequent class, five classes", figures["polygons_grouped"]),
            _table("pixels, codes as predicted (the labels know no 112, 222, 321)", figures["pixels"]),
            f"Share of the classes in the whole crop: {shares}.",
            "Accuracy over the five classes when the level of the reflectance is shifted:",
            markdown_table(("Shift", "Accuracy"), shifts),
            "![input, labelled polygons, prediction](evaluation.png)",
        ]
    )


def _level_figures(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [(entry["between"], f"{entry['same_code']:.1%}", f"{entry['same_group']:.1%}") for entry in figures]
    return "\n\n".join(
        [
            "## Agreement between levels",
            "How many pixels keep their code, and their one of the five classes, when the same image is shown at "
            "another level; no label takes part. Level-2A is the Hațeg scene, level-1C the EuroSAT patches, both of "
            "which training saw. The other atmospheres shift the gain, path radiance and offset of each band by one "
            "deviation of what version 1 was trained with.",
            markdown_table(("Between", "Same code", "Same of five"), rows),
        ]
    )


def _table(title: str, figures: Mapping[str, Any]) -> str:
    """Write a confusion matrix, truth in rows, with recall, precision and IoU."""
    classes = figures["classes"]
    rows = [
        (
            f"**{name}**",
            *(f"{count:,}" for count in counts),
            *(_share(figures["per_class"][name][key]) for key in ("recall", "precision", "iou")),
        )
        for name, counts in zip(classes, figures["counts"], strict=True)
    ]
    summary = (
        f"{title[0].upper()}{title[1:]}: accuracy **{figures['overall_accuracy']:.1%}** of {figures['total']:,}, "
        f"mean F1 {figures['mean_f1']:.2f}."
    )
    table = markdown_table(("truth \\ predicted", *classes, "recall", "precision", "IoU"), rows)
    return f"{summary}\n\n{table}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


_TRAINING_DATA = """\
- EuroSAT (Helber et al. 2019, *IEEE JSTARS* 12(7)): 200 of its 64 × 64 patches, level-1C, ten labels of one word a
  patch. MIT licence, © 2023 Patrick Helber. A pixel keeps the patch's label where Dynamic World does not contradict
  it; in River patches only the water counts. Highway patches keep no label of their own, because a road is a few
  pixels wide: only trees, crops and water that the teacher is sure of.
- Dynamic World V1 (Brown et al. 2022, *Scientific Data* 9:251) as that teacher, on the level-1C patches only.
  Apache-2.0. *This code is produced for the Dynamic World Project by Google in partnership with National Geographic
  and the World Resources Institute.*
- Hațeg, Romania, 2018-10-16, level-2A (sen2cor 02.09): two thirds of 59 hand-drawn polygons of
  github valentinitnelav/satellite-image-classification-r (Zenodo 10.5281/zenodo.7155593). The repository states no
  licence for the polygons: they were used to train and to evaluate and are not redistributed. `construction` was
  taken as 121: seen in the image, these polygons are large halls and two stretches of road. In training 112
  counts as right there as well, and 321 on pasture: the labels do not say which.
- All imagery: contains modified Copernicus Sentinel data."""

_PRETRAINED = """
- Dynamic World V1 once more, as where the weights begin: those of its convolutions, under the same licence and with the
  same notice. Changed: the activation, the order of raising and normalising, B8A as a tenth band, the heads; and every
  weight has learnt on. It was made from some 24,000 hand-labelled images of all continents; whether places of the
  patches are among them is not known, its labels are others."""

_LIMITS = """\
- Little data: 200 patches and one scene. The figures have wide margins, above all a class's 20 patches and the three
  water polygons, of which one is held out. Held-out Hațeg polygons lie in the scene that training saw.
- Most training data are level-1C, operation is level-2A; the shift is modelled, not observed, except in Hațeg.
- One date a place: no season is known. Bare fields, fallow and dry grass look alike, rows of trees are hardly
  resolved: 211, 222, 231 and 321 are the weak part at places that training has not seen, as the folds show.
- Classes that the ground truth lacks are given to the nearest one: bare rock, sand, snow, wetland, roads, quarries.
  Clouds and shadows are not a class: mask them.
- EuroSAT labels are land use of 640 m squares: Residential and Industrial include gardens, yards and roads."""
