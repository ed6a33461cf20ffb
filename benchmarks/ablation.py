"""What each part of the recipe of corine-unet adds: the folds trained once a variant, on the same places and seeds.

    python -m benchmarks.ablation train --data DIR --to ablation.json [--variant NAME …]
    python -m benchmarks.ablation compare --data DIR --ablation ablation.json --repository DIR --to comparison.json

Every variant is judged on patches of regions that its training did not see, and on all polygons of the Hațeg scene, of
which no variant sees anything: another region, season and level than all it has learnt from; with `--polygons` it sees
the training polygons, as a version does, and is judged by the others. Both as they are and under other atmospheres. The
first command needs PyTorch: run it in the environment of scripts/install_training.
"""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
import rasterio
from rich.console import Console

from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.augmentation import (
    AS_VERSION_1,
    STILL,
    Atmosphere,
    as_typical_surface,
    under_one_deviation,
)
from earthsignature_assets.models.block_counts import BlockCounts
from earthsignature_assets.models.comparison import patch_counts, polygon_counts, summed, told
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.ground_truth import CLASS_CODES, Sample, read_eurosat, read_hateg, split_polygons
from earthsignature_assets.models.repository import S2_BANDS, ModelRepository, shipped_repository
from earthsignature_assets.simulator import SceneRecipe, simulate_scene

if TYPE_CHECKING:
    from earthsignature_assets.models.optimisation import Recipe
    from earthsignature_assets.models.training import Plan, TrainingData

_ATMOSPHERES = 12

NARROWER = Atmosphere(path_radiance=0.125, offset=12.0, steady_noise=4.0, relative_noise=0.0075)
"""Half the path radiance, offset and noise of version 1, and gains as wide."""


@dataclass(frozen=True)
class Lesson:
    """What one variant trains on, and how: the patches as taught, further samples, the recipe."""

    taught: list[Sample]
    further: list[Sample]
    recipe: "Recipe"


def _without_covers(lesson: Lesson) -> Lesson:
    taught, further = ([replace(one, covers=None) for one in part] for part in (lesson.taught, lesson.further))
    return replace(lesson, taught=taught, further=further)


def _without_supplement(lesson: Lesson) -> Lesson:
    taught, further = ([replace(one, weak=None) for one in part] for part in (lesson.taught, lesson.further))
    return replace(lesson, taught=taught, further=further)


def _as_version_1(lesson: Lesson) -> Lesson:
    recipe = replace(lesson.recipe, season=0.0, averaging=0.0, atmosphere=AS_VERSION_1)
    return replace(_without_covers(_without_supplement(lesson)), recipe=recipe)


VARIANTS: dict[str, Callable[[Lesson, Path], Lesson]] = {
    "all of it": lambda lesson, _: lesson,
    "as version 1": lambda lesson, _: _as_version_1(lesson),
    "without other atmospheres": lambda lesson, _: replace(lesson, recipe=replace(lesson.recipe, atmosphere=STILL)),
    "with narrower atmospheres": lambda lesson, _: replace(lesson, recipe=replace(lesson.recipe, atmosphere=NARROWER)),
    "without the teacher's covers": lambda lesson, _: _without_covers(lesson),
    "without other seasons": lambda lesson, _: replace(lesson, recipe=replace(lesson.recipe, season=0.0)),
    "without what the teacher leaves open": lambda lesson, _: _without_supplement(lesson),
    "with simulated scenes": lambda lesson, _: replace(lesson, further=simulated_samples()),
    "EuroSAT labels alone, no teacher": lambda lesson, data: replace(
        lesson, taught=read_eurosat(data / "eurosat_ms_geotorchai")
    ),
}
"""What is left out of the recipe, or added to it. Level-1C patches lose path radiance in all of them."""


@click.group()
def main() -> None:
    """Ablation of the recipe, and the comparison of the shipped versions."""


@main.command("train", context_settings={"show_default": True})
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JSON file to write.")
@click.option("--variant", "chosen", type=click.Choice(list(VARIANTS)), multiple=True, help="By default all of them.")
@click.option("--epochs", type=click.IntRange(1), default=20, help="Epochs of every training.")
@click.option("--folds", type=click.IntRange(2), default=2, help="Folds over EuroSAT.")
@click.option("--polygons/--no-polygons", default=False, help="Train on the training polygons of Hațeg too.")
def train_variants(data: Path, to: Path, chosen: Sequence[str], epochs: int, folds: int, polygons: bool) -> None:
    """Train the folds once a variant, and write the figures of each; variants that the file has are kept."""
    from earthsignature_assets.models.optimisation import Recipe
    from earthsignature_assets.models.training import Plan, TrainingData, progress_bars

    known = TrainingData.read(data)
    found: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.exists() else {}
    with progress_bars(Console()) as progress:
        for name in chosen or VARIANTS:
            seen = list(known.polygons) if polygons else []
            lesson = VARIANTS[name](Lesson(list(known.patches), seen, Recipe()), data)
            numbers = known.held_out if polygons else range(1, len(known.scene.labels) + 1)
            found[name] = run_variant(known, lesson, Plan(lesson.recipe, epochs, folds), numbers, progress)
            to.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")


def run_variant(
    known: "TrainingData", lesson: Lesson, plan: "Plan", numbers: Sequence[int], progress: Any
) -> dict[str, Any]:
    """Cross-validate a variant, and judge the networks of all folds by these polygons of Hațeg and the fold's patches.

    Returns:
        The figures, with the counts of patches and polygons as they are (`answers`, `polygons`), and summed over other
        atmospheres (`shifted_patches`, `shifted_polygons`).
    """
    from earthsignature_assets.models.optimisation import predict_any
    from earthsignature_assets.models.training import cross_validate, patch_answer

    table = np.array([0, *CLASS_CODES], np.uint16)
    seen: list[BlockCounts] = []
    shifted: list[BlockCounts] = []
    answers: list[dict[str, Any]] = [{} for _ in range(_ATMOSPHERES)]

    def judge(network: Any, kept_out: Sequence[Sample]) -> None:
        image = known.scene.reflectance
        seen.append(polygon_counts(known.scene, numbers, table[predict_any(network, image)]))
        for seed in range(_ATMOSPHERES):
            other = table[predict_any(network, under_one_deviation(image, seed))]
            shifted.append(polygon_counts(known.scene, numbers, other))
            for patch in kept_out:
                told = table[predict_any(network, under_one_deviation(as_typical_surface(patch), seed))]
                answers[seed][patch.name] = patch_answer(patch, told)

    eurosat, _ = cross_validate(known.patches, lesson.further, plan, progress, judge=judge, taught=lesson.taught)
    polygons = summed(seen)
    return {
        "epochs": plan.fold_epochs,
        "folds": plan.folds,
        "answers": eurosat["answers"],
        "patch_accuracy": eurosat["patches"]["overall_accuracy"],
        "patch_mean_f1": eurosat["patches"]["mean_f1"],
        "pixel_accuracy": eurosat["pixels"]["overall_accuracy"],
        "polygons": _to_json(polygons),
        "shifted_patches": _to_json(summed([patch_counts(answer) for answer in answers])),
        "shifted_polygons": _to_json(summed(shifted)),
        "polygon_pixel_accuracy": polygons.total.overall_accuracy,
        "polygon_mean_f1": polygons.total.mean_f1,
        "recall": {name: figures["recall"] for name, figures in polygons.total.per_class().items()},
    }


def _to_json(counts: BlockCounts) -> dict[str, Any]:
    return {"names": counts.names, "blocks": counts.blocks, "counts": counts.counts.tolist()}


def _from_json(found: dict[str, Any]) -> BlockCounts:
    return BlockCounts(tuple(found["names"]), tuple(found["blocks"]), np.array(found["counts"], np.int64))


def simulated_samples(side: int = 128) -> list[Sample]:
    """Chips of three simulated clear scenes in three seasons, with the truth of every pixel.

    The simulator's spectra come from these very patches and polygons: what the chips add is their arrangement.
    """
    samples = []
    with TemporaryDirectory() as folder:
        for month, tile in ((5, "32TQM"), (8, "33TUG"), (10, "34TFR")):
            key = SceneKey(dt.date(2026, month, 1), 22, tile)
            made = simulate_scene(SceneRecipe(key, size=512, cloud_cover=0.0, offset_applied=False), Path(folder))
            with rasterio.open(made.truth) as dataset:
                truth = dataset.read(1)
                grid = {"height": dataset.height, "width": dataset.width}
            bands = []
            for band in S2_BANDS:
                with rasterio.open(made.folder / f"{band}.tif") as dataset:
                    numbers = dataset.read(1, out_shape=(grid["height"], grid["width"]))
                bands.append(np.where(numbers > 1000, numbers - 1000, 1).astype(np.uint16))
            image = np.where(truth > 0, np.stack(bands), np.uint16(0))
            for row in range(0, 512, side):
                for column in range(0, 512, side):
                    window = slice(row, row + side), slice(column, column + side)
                    name = f"{key}/{row}/{column}"
                    samples.append(Sample(name, "simulated", "L2A", "", image[:, *window], truth[window], 0.0, 0.0))
    return samples


@main.command("compare")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--ablation", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--repository", type=click.Path(file_okay=False, path_type=Path), required=True, help="Of the candidate.")
@click.option("--candidate", default="corine-unet-v2", show_default=True)
@click.option("--current", default="corine-unet-v1", show_default=True)
def compare(data: Path, ablation: Path, to: Path, repository: Path, candidate: str, current: str) -> None:
    """Compare two versions on the polygons held out from both, and two recipes on folds and unseen polygons."""
    models = ModelRepository(repository, shipped_repository().root)
    found = json.loads(ablation.read_text(encoding="utf-8"))
    scene = read_hateg(data / "s2_hateg_34TFR_20181016")
    _, held_out = split_polygons(scene.labels)
    pairs: dict[str, list[list[BlockCounts]]] = {"as it is": [], "other atmospheres": []}
    images = [under_one_deviation(scene.reflectance, seed) for seed in range(_ATMOSPHERES)]
    for name in (candidate, current):
        model = ModelVersion.parse(name)
        graph, description = Graph(models.graph(model)), models.describe(model)

        def judged(image: npt.NDArray[np.uint16], graph: Graph = graph, description: Any = description) -> BlockCounts:
            codes = description.code_table[graph.run_scene(image, description.stride)]
            return polygon_counts(scene, held_out, codes)

        pairs["as it is"].append([judged(scene.reflectance)])
        pairs["other atmospheres"].append([judged(image) for image in images])
    one, other = found["all of it"], found["as version 1"]
    comparison = {
        "candidate": candidate,
        "current": current,
        "held_out_polygons": told(*(summed(side) for side in pairs["as it is"])),
        "held_out_polygons_under_other_atmospheres": told(*(summed(side) for side in pairs["other atmospheres"])),
        "recipes_on_held_out_patches": told(patch_counts(one["answers"]), patch_counts(other["answers"])),
        **{
            f"recipes_on_{part}": told(_from_json(one[part]), _from_json(other[part]))
            for part in ("polygons", "shifted_patches", "shifted_polygons")
        },
        "recipes_at": {name: found[name]["epochs"] for name in ("all of it", "as version 1")},
    }
    to.write_text(json.dumps(comparison, indent=1) + "\n", encoding="utf-8")
    Console().print_json(data=comparison)


if __name__ == "__main__":
    main()
