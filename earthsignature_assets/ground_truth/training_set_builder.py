"""Build a training set on disk from a recipe, its images and its ground truth."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.chips import Image, patch_chips, scene_chips
from earthsignature_assets.ground_truth.label_scheme import Statement
from earthsignature_assets.ground_truth.spatial_split import Split, cell_of, guarded, split_cells
from earthsignature_assets.ground_truth.training_set import Chip, TrainingSet, write_training_set
from earthsignature_assets.ground_truth.training_set_item import training_set_item
from earthsignature_assets.ground_truth.training_set_recipe import TrainingSetRecipe
from earthsignature_assets.ground_truth.truth_raster import Remark, TruthRaster, remarked
from earthsignature_assets.ground_truth.truth_sources import TruthSource
from earthsignature_assets.models.input_range import input_range
from earthsignature_assets.nomenclature import class_of


def build_training_set(
    recipe: TrainingSetRecipe,
    images: Sequence[Image],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingSet:
    """Rasterise the ground truth on the images, cut chips, split them by space, and write the set.

    Args:
        recipe: the recipe.
        images: the opened images of the recipe.
        folder: the folder of the set.
        progress: called with the number of chips written and the total.

    Raises:
        GroundTruthError: a source cannot be used, no pixel is labelled, a class required by the recipe has no pixel,
            or there are too few cells to split.
    """
    chips: list[Chip] = []
    remarks: list[Remark] = []
    for image in images:
        truth, found = label_image(image, recipe.truth)
        remarks += found
        cut = list(scene_chips(image, truth, recipe.chip, recipe.margin, recipe.fewest_pixels))
        left_out = int(np.count_nonzero(truth.codes)) - sum(int(np.count_nonzero(chip.truth.codes)) for chip in cut)
        remarks += remarked(image.name, f"in chips of fewer than {recipe.fewest_pixels} labelled pixels", left_out)
        chips += cut
    for entry in recipe.patches:
        cut, found = patch_chips(entry.folder, entry.scheme, entry.bands, entry.level, entry.region)
        chips, remarks = chips + cut, remarks + found
    if not chips:
        reasons = "; ".join(f"{remark.source}: {remark.count} {remark.what} {remark.reason}" for remark in remarks)
        raise GroundTruthError(
            f"{recipe.name}: no pixel of any image is labelled ({reasons or 'no label lies in one'})"
        )
    contents = [chip.truth.counts() for chip in chips]
    _refuse_missing(recipe, contents)
    cells = [cell_of(*chip.centre, recipe.cell_km) for chip in chips]
    splits = _split(recipe, chips, cells, contents)
    report = _report(recipe, images, chips, contents, cells, splits, remarks)
    return write_training_set(folder, chips, cells, splits, report, training_set_item, progress)


def label_image(image: Image, sources: Sequence[TruthSource]) -> tuple[TruthRaster, list[Remark]]:
    """Combine all sources on the pixels of an image that show the ground; return the raster and the remarks."""
    truth, remarks = TruthRaster.void(image.grid.shape), list[Remark]()
    for source in sources:
        raster, found = source.on(image.grid)
        remarks += found
        truth, contradicting = truth.combined(raster)
        remarks += remarked(source.name, "contradicts another source", contradicting)
    hidden = image.hidden()
    remarks += remarked(
        image.name, "labelled, but the image shows no ground there", int(np.count_nonzero(truth.codes[hidden]))
    )
    return truth.masked(hidden), remarks


def _refuse_missing(recipe: TrainingSetRecipe, contents: Sequence[dict[Statement, int]]) -> None:
    found = {statement.code for content in contents for statement in content}
    if missing := [code for code in recipe.classes if code not in found]:
        named = ", ".join(f"{code} {class_of(code).name}" for code in missing)
        raise GroundTruthError(
            f"{recipe.name}: no pixel of {named}: add ground truth, or remove the code from `classes`"
        )


def _split(
    recipe: TrainingSetRecipe, chips: Sequence[Chip], cells: Sequence[str], contents: Sequence[dict[Statement, int]]
) -> list[Split]:
    by_cell: dict[str, Counter[str]] = defaultdict(Counter)
    for cell, content in zip(cells, contents, strict=True):
        by_cell[cell].update({statement.name: count for statement, count in content.items()})
    split_of = split_cells(by_cell, recipe.shares, recipe.seed)
    return guarded([chip.centre for chip in chips], [split_of[cell] for cell in cells], recipe.guard_km)


def _report(
    recipe: TrainingSetRecipe,
    images: Sequence[Image],
    chips: Sequence[Chip],
    contents: Sequence[dict[Statement, int]],
    cells: Sequence[str],
    splits: Sequence[Split],
    remarks: Sequence[Remark],
) -> dict[str, Any]:
    classes = _classes(contents, splits)
    labelled = Counter[Split]()
    for split, content in zip(splits, contents, strict=True):
        labelled[split] += sum(content.values())
    schemes = [source.scheme for source in recipe.truth] + [entry.scheme for entry in recipe.patches]
    found = {entry["code"] for entry in classes}
    unseen = sorted({code for scheme in schemes for code in scheme.codes} - found)
    training = [chip for chip, split in zip(chips, splits, strict=True) if split == Split.TRAIN]
    return {
        "name": recipe.name,
        "made_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "chip": recipe.chip,
        "margin": recipe.margin,
        "split": {"cell_km": recipe.cell_km, "guard_km": recipe.guard_km, "seed": recipe.seed, "grid": "EPSG:3035"},
        "splits": {
            str(split): {
                "samples": splits.count(split),
                "cells": len({cell for cell, other in zip(cells, splits, strict=True) if other == split}),
                "labelled_pixels": labelled[split],
            }
            for split in Split
            if split in splits
        },
        "classes": classes,
        "classes_without_a_pixel": unseen,
        "remarks": [asdict(remark) for remark in _together(remarks)],
        "input_range": input_range((chip.level, chip.read()) for chip in training),
        "images": [
            {"name": image.name, "level": image.level, "region": image.region, **image.provenance} for image in images
        ],
        "truth": [
            {"name": source.name, "scheme": source.scheme.name, "licence": source.licence} for source in recipe.truth
        ]
        + [
            {"name": entry.folder.name, "scheme": entry.scheme.name, "licence": entry.licence}
            for entry in recipe.patches
        ],
    }


def _classes(contents: Sequence[dict[Statement, int]], splits: Sequence[Split]) -> list[dict[str, Any]]:
    """Return the class balance: one row a statement, with its pixels in each split."""
    pixels: dict[Statement, Counter[Split]] = defaultdict(Counter)
    for content, split in zip(contents, splits, strict=True):
        for statement, count in content.items():
            pixels[statement][split] += count
    total = sum(counter.total() for counter in pixels.values())
    return [
        {
            "name": statement.name,
            "code": statement.code,
            "level": statement.level,
            "also": statement.also,
            "pixels": counter.total(),
            "share": round(counter.total() / total, 5),
            **{str(split): counter[split] for split in Split if split in splits},
        }
        for statement, counter in sorted(pixels.items())
    ]


def _together(remarks: Sequence[Remark]) -> list[Remark]:
    """Merge equal remarks on several images."""
    counts = Counter[tuple[str, str, str]]()
    for remark in remarks:
        counts[remark.source, remark.reason, remark.what] += remark.count
    return [Remark(source, reason, count, what) for (source, reason, what), count in counts.items()]
