"""Measurements of an exported graph: accuracy on held-out polygons, agreement between levels, speed, and a picture."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.pictures import Panel, land_cover, overview, png, side_by_side, true_colour
from earthsignature_assets.training.augmentation import PATH_RADIANCE, as_typical_surface
from recipes.corine_unet.atmospheres import as_typical_top, under_one_deviation
from recipes.corine_unet.data import LabelledScene
from recipes.corine_unet.label_groups import group_table, judge_polygons
from recipes.corine_unet.shipped_card import card

_TILE_PIXELS = 10980
_PANEL_HEIGHT = 440
_ATMOSPHERES = 12
_SHIFTS = ((1.0, 0.0), (0.9, 0.0), (1.1, 0.0), (1.0, -0.3), (1.0, 0.3), (1.0, 1.0))


def codes_of_scene(
    graph: Graph, description: ModelDescription, reflectance: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint16]:
    """Predict the codes, (height, width) uint16, of one image, (10, height, width) uint16."""
    return description.code_table[graph.run_scene(reflectance, description.stride)]


def describe_version(
    folder: Path,
    description: ModelDescription,
    scene: LabelledScene,
    held_out: Sequence[int],
    patches: Sequence[Sample],
    figures: Mapping[str, Any],
    threads: int,
) -> float:
    """Measure a version's exported graph and write `evaluation.json`, `card.md` and `evaluation.png` next to it.

    Args:
        folder: the version's folder, which holds `model.onnx`.
        description: the version's `model.json`.
        scene: the labelled scene.
        held_out: the numbers of the held-out polygons.
        patches: level-1C patches, for the agreement between the levels.
        figures: figures of the training: `model`, `training`, `eurosat` and `hateg_folds` of `evaluation.json`.
        threads: threads of ONNX Runtime.

    Returns:
        The accuracy of the held-out pixels over the five classes that the labels support.
    """
    graph = Graph(folder / "model.onnx", threads)
    hateg = judge_scene(graph, description, scene, held_out)
    agreement = level_agreement(graph, description, scene.reflectance, patches)
    speed = measure_speed(graph, description, threads)
    evaluation = {**figures, "hateg": hateg, "level_agreement": agreement, "speed": speed}
    text = json.dumps(evaluation, indent=1, ensure_ascii=False) + "\n"
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    (folder / "card.md").write_text(card(description, evaluation), encoding="utf-8")
    predicted = codes_of_scene(graph, description, scene.reflectance)
    title = f"{description.model} on level 2A: Hunedoara, Romania, 2018-10-16"
    (folder / "evaluation.png").write_bytes(picture(scene, predicted, description.class_codes, title))
    return float(hateg["pixels_grouped"]["overall_accuracy"])


def judge_scene(
    graph: Graph, description: ModelDescription, scene: LabelledScene, held_out: Sequence[int]
) -> dict[str, Any]:
    """Compute the figures of a graph on held-out polygons, see `judge_polygons`, also with shifted reflectance.

    `level_shifts` are the accuracies over the five classes with gains on all bands, and with path radiance subtracted
    or added, as after a poor atmospheric correction.
    """
    codes = description.class_codes
    shifts: list[dict[str, Any]] = []
    for gain, haze in _SHIFTS:
        shifted = scene.reflectance * np.float32(gain) + np.float32(haze) * PATH_RADIANCE[:, None, None]
        answer = codes_of_scene(graph, description, np.maximum(shifted, 1).astype(np.uint16))
        grouped = judge_polygons(scene, held_out, answer, codes)["pixels_grouped"]
        shift = f"gain {gain:g}, path radiance {haze:+.0%}"
        shifts.append({"shift": shift, "overall_accuracy": grouped["overall_accuracy"]})
    predicted = codes_of_scene(graph, description, scene.reflectance)
    return {**judge_polygons(scene, held_out, predicted, codes), "level_shifts": shifts}


def level_agreement(
    graph: Graph, description: ModelDescription, surface: npt.NDArray[np.uint16], patches: Sequence[Sample]
) -> list[dict[str, Any]]:
    """Measure the share of a map that stays the same when an image is shown at the other level, without labels.

    Args:
        graph: the version's graph.
        description: the version's `model.json`.
        surface: a level-2A image, (10, height, width) uint16.
        patches: level-1C patches.

    Returns:
        For each pair of images the shares of pixels that keep their code, and their class of `HATEG_GROUPS`.
    """
    _, group_of = group_table(description.class_codes)

    def kept(pairs: Iterable[tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]]) -> dict[str, float]:
        pixels = codes = groups = 0
        for one, other in pairs:
            before, after = (codes_of_scene(graph, description, image) for image in (one, other))
            pixels += before.size
            codes += int((before == after).sum())
            groups += int((group_of[before] == group_of[after]).sum())
        return {"same_code": round(codes / pixels, 4), "same_group": round(groups / pixels, 4)}

    atmospheres = [(surface, under_one_deviation(surface, seed)) for seed in range(_ATMOSPHERES)]
    levels = [(patch.reflectance, as_typical_surface(patch)) for patch in patches]
    return [
        {"between": "level-2A and the same with typical path radiance", **kept([(surface, as_typical_top(surface))])},
        {"between": f"level-2A and the same under {_ATMOSPHERES} other atmospheres", **kept(atmospheres)},
        {"between": "level-1C patches and the same without typical path radiance", **kept(levels)},
    ]


def measure_speed(graph: Graph, description: ModelDescription, threads: int, repeats: int = 5) -> dict[str, Any]:
    """Time 1024 × 1024 pixels of random reflectance (best of `repeats`), and extrapolate to a full tile with halo."""
    side = 1024
    patch = np.random.default_rng(0).integers(1, 6000, (1, len(description.bands), side, side)).astype(np.uint16)
    seconds = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        graph.run(patch)
        seconds = min(seconds, time.perf_counter() - start)
    with_halo = (side + 2 * description.halo) ** 2 / side**2
    minutes = seconds * (_TILE_PIXELS / side) ** 2 * with_halo / 60
    return {
        "threads": threads,
        "seconds_per_1024": round(seconds, 3),
        "minutes_per_tile_with_halo": round(minutes, 2),
    }


def picture(scene: LabelledScene, predicted: npt.NDArray[np.uint16], legend: Sequence[int], title: str) -> bytes:
    """Draw input, labelled polygons and prediction with the legend of the classes as a PNG.

    The true-colour panel has sixteen steps a channel: with its noise the file would be three times as large.
    """
    every = range(1, len(scene.labels) + 1)
    colours = overview(true_colour(*scene.reflectance[[2, 1, 0]]), _PANEL_HEIGHT) // 16 * 16
    panels = [
        Panel("Sentinel-2, true colour", colours),
        Panel("labelled polygons", land_cover(overview(scene.codes(every), _PANEL_HEIGHT, categorical=True))),
        Panel("prediction", land_cover(overview(predicted, _PANEL_HEIGHT, categorical=True))),
    ]
    return png(side_by_side(panels, legend=legend, title=title, panel_height=panels[0].image.shape[0]))
