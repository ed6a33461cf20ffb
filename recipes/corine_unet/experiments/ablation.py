"""Ablation of the recipe of corine-unet: the folds trained once a variant, on the same places and seeds.

    python -m recipes.corine_unet.experiments.ablation train --data DIR --to FILE [--variant NAME …] [--seed N]
    python -m recipes.corine_unet.experiments.ablation compare --data DIR --ablation FILE … --repository DIR --to FILE

Every variant is evaluated on patches of held-out regions and on held-out polygons of the Hațeg scene; with
`--no-polygons` on all polygons, of another region, season and level than the training data. Both are evaluated as they
are and under other atmospheres. The first command needs PyTorch: run it in the environment of scripts/install_training.
"""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
import rasterio
from rich.console import Console

from earthsignature_assets.evaluation.block_counts import BlockCounts
from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, simulate_scene
from earthsignature_assets.training.augmentation import Atmosphere
from recipes.corine_unet.atmospheres import AS_VERSION_1, STILL, under_one_deviation
from recipes.corine_unet.comparison import compared, patch_counts, polygon_counts, summed
from recipes.corine_unet.data import read_eurosat, read_hateg
from recipes.corine_unet.folds import split_polygons

if TYPE_CHECKING:
    from recipes.corine_unet.cross_validation import Plan, TrainingData

_ATMOSPHERES = 12

NARROWER = Atmosphere(path_radiance=0.125, offset=12.0, steady_noise=4.0, relative_noise=0.0075, uncorrected=0.0)
"""Half the spread of path radiance, offset and noise of version 1, and the same gains."""


@dataclass(frozen=True)
class Lesson:
    """Samples and plan of one variant."""

    samples: list[Sample]
    plan: "Plan"


def _without_covers(lesson: Lesson) -> Lesson:
    return replace(lesson, samples=[replace(sample, covers=None) for sample in lesson.samples])


def _without_supplement(lesson: Lesson) -> Lesson:
    return replace(lesson, samples=[replace(sample, weak=None) for sample in lesson.samples])


def _with_recipe(lesson: Lesson, **changes: Any) -> Lesson:
    return replace(lesson, plan=replace(lesson.plan, recipe=replace(lesson.plan.recipe, **changes)))


def _from_random_weights(lesson: Lesson, teachers: int) -> Lesson:
    from recipes.corine_unet.cross_validation import Plan

    scratch = Plan.from_scratch()
    plan = replace(lesson.plan, architecture=scratch.architecture, teachers=teachers)
    return _with_recipe(replace(lesson, plan=plan), learning_rate=scratch.recipe.learning_rate)


def _as_version_1(lesson: Lesson) -> Lesson:
    lesson = _from_random_weights(_without_covers(_without_supplement(lesson)), teachers=0)
    return _with_recipe(lesson, season=0.0, averaging=0.0, atmosphere=AS_VERSION_1)


def _without_labels_refined(lesson: Lesson, data: Path) -> Lesson:
    raw = {patch.name: patch for patch in read_eurosat(data / "eurosat_ms_geotorchai")}
    return replace(lesson, samples=[raw.get(sample.name, sample) for sample in lesson.samples])


VARIANTS: dict[str, Callable[[Lesson, Path], Lesson]] = {
    "all of it": lambda lesson, _: lesson,
    "as version 1": lambda lesson, _: _as_version_1(lesson),
    "from random weights": lambda lesson, _: _from_random_weights(lesson, teachers=0),
    "from random weights, with teachers": lambda lesson, _: _from_random_weights(lesson, teachers=2),
    "without other atmospheres": lambda lesson, _: _with_recipe(lesson, atmosphere=STILL),
    "with narrower atmospheres": lambda lesson, _: _with_recipe(lesson, atmosphere=NARROWER),
    "without the teacher's covers": lambda lesson, _: _without_covers(lesson),
    "without other seasons": lambda lesson, _: _with_recipe(lesson, season=0.0),
    "without what the teacher leaves open": lambda lesson, _: _without_supplement(lesson),
    "with simulated scenes": lambda lesson, _: replace(lesson, samples=[*lesson.samples, *simulated_samples()]),
    "EuroSAT labels alone, no teacher": _without_labels_refined,
}
"""Changes to the recipe by variant. Level-1C patches lose path radiance in all variants."""

_MARGINS = {"as version 1": 24}
"""Pixels around a polygon where they differ from those of `Plan`."""


@click.group()
def main() -> None:
    """Measure the parts of the recipe, and compare the shipped versions."""


@main.command("train", context_settings={"show_default": True})
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JSON file to write.")
@click.option("--variant", "chosen", type=click.Choice(list(VARIANTS)), multiple=True, help="All variants by default.")
@click.option("--epochs", type=click.IntRange(1), default=20, help="Epochs of every training.")
@click.option("--folds", type=click.IntRange(2), default=2, help="Folds over EuroSAT and the polygons of Hațeg.")
@click.option("--polygons/--no-polygons", default=False, help="Train on polygons of Hațeg too.")
@click.option("--seed", type=int, help="Seed, instead of the recipe's.")
@click.option("--processes", type=click.IntRange(1), default=2, help="Parallel trainings.")
def train_variants(
    data: Path,
    to: Path,
    chosen: Sequence[str],
    epochs: int,
    folds: int,
    polygons: bool,
    seed: int | None,
    processes: int,
) -> None:
    """Train the folds once a variant, and write the figures of each; variants in the file are kept."""
    from earthsignature_assets.cli.progress import progress_bars
    from recipes.corine_unet.cross_validation import Plan, TrainingData

    known = TrainingData.read(data)
    plan = replace(Plan.pretrained(data, epochs), folds=folds, processes=processes)
    if seed is not None:
        plan = replace(plan, recipe=replace(plan.recipe, seed=seed))
    found: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.exists() else {}
    with progress_bars(Console()) as progress:
        for name in chosen or VARIANTS:
            if name in found:
                continue
            own = replace(plan, margin=_MARGINS.get(name, plan.margin))
            found[name] = run_variant(known, data, VARIANTS[name], own, polygons, progress)
            to.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")


def run_variant(
    known: "TrainingData",
    data: Path,
    variant: Callable[[Lesson, Path], Lesson],
    plan: "Plan",
    polygons: bool,
    progress: Any,
) -> dict[str, Any]:
    """Cross-validate a variant, and evaluate the networks of all folds on their held-out parts.

    Returns:
        The figures, with the counts of patches and polygons as they are (`answers`, `polygons`), and summed over other
        atmospheres (`shifted_patches`, `shifted_polygons`).
    """
    from recipes.corine_unet.cross_validation import (
        answers_of_folds,
        folds_of,
        judge_folds,
        patch_answer,
        polygon_counts_of_folds,
    )
    from recipes.corine_unet.training_pool import train_distilled

    plan = variant(Lesson([], plan), data).plan
    folds = folds_of(known, plan, polygons=polygons)
    trainings = [
        replace(fold.training, samples=variant(Lesson(list(fold.training.samples), plan), data).samples)
        for fold in folds
    ]
    trained = train_distilled(trainings, plan.teachers, plan.processes, progress)
    networks = [one.network for one in trained]
    patches, _ = judge_folds(known, folds, networks, plan)
    counts = polygon_counts_of_folds(known.scene, folds, networks)
    views = [partial(under_one_deviation, seed=seed) for seed in range(_ATMOSPHERES)]
    shifted = [
        patch_counts(
            {patch.name: patch_answer(patch, answer) for patch, answer in answers_of_folds(folds, networks, view)}
        )
        for view in views
    ]
    return {
        "epochs": plan.fold_epochs,
        "folds": plan.folds,
        "teachers": plan.teachers,
        "seed": plan.recipe.seed,
        "answers": patches["answers"],
        "patch_accuracy": patches["patches"]["overall_accuracy"],
        "patch_mean_f1": patches["patches"]["mean_f1"],
        "pixel_accuracy": patches["pixels"]["overall_accuracy"],
        "polygons": _to_json(counts),
        "shifted_patches": _to_json(summed(shifted)),
        "shifted_polygons": _to_json(
            summed([polygon_counts_of_folds(known.scene, folds, networks, view) for view in views])
        ),
        "polygon_pixel_accuracy": counts.total.overall_accuracy,
        "polygon_mean_f1": counts.total.mean_f1,
        "recall": {name: figures["recall"] for name, figures in counts.total.per_class().items()},
    }


def _to_json(counts: BlockCounts) -> dict[str, Any]:
    return {"names": counts.names, "blocks": counts.blocks, "counts": counts.counts.tolist()}


def _from_json(found: dict[str, Any]) -> BlockCounts:
    return BlockCounts(tuple(found["names"]), tuple(found["blocks"]), np.array(found["counts"], np.int64))


def simulated_samples(side: int = 128) -> list[Sample]:
    """Simulate three clear scenes in three seasons, and cut them into chips with the truth of every pixel.

    The simulator's spectra come from the same patches and polygons: the chips only add their arrangement.
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
@click.option(
    "--ablation",
    "ablations",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    multiple=True,
    help="File of `train` with --polygons; several seeds are summed.",
)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Repository of the candidate.",
)
@click.option("--candidate", default="corine-unet-v2", show_default=True)
@click.option("--current", default="corine-unet-v1", show_default=True)
def compare(data: Path, ablations: Sequence[Path], to: Path, repository: Path, candidate: str, current: str) -> None:
    """Compare two versions on the polygons held out from both, and two recipes on the folds' patches and polygons."""
    models = ModelRepository(repository, shipped_repository().root)
    found = [json.loads(ablation.read_text(encoding="utf-8")) for ablation in ablations]
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
    recipes = ("all of it", "as version 1")
    answers = (summed([patch_counts(part[name]["answers"]) for part in found]) for name in recipes)
    comparison = {
        "candidate": candidate,
        "current": current,
        "held_out_polygons": compared(*(summed(side) for side in pairs["as it is"])),
        "held_out_polygons_under_other_atmospheres": compared(*(summed(side) for side in pairs["other atmospheres"])),
        "recipes_on_patches": compared(*answers),
        **{
            f"recipes_on_{figure}": compared(
                *(summed([_from_json(part[name][figure]) for part in found]) for name in recipes)
            )
            for figure in ("polygons", "shifted_patches", "shifted_polygons")
        },
        "recipes_at": {name: found[0][name]["epochs"] for name in recipes},
        "seeds": [part[recipes[0]]["seed"] for part in found],
    }
    to.write_text(json.dumps(comparison, indent=1) + "\n", encoding="utf-8")
    Console().print_json(data=comparison)


if __name__ == "__main__":
    main()
