"""Training of the shipped model: from the data folder to a measured version in the model repository.

    python -m recipes.corine_unet.train --data DIR --repository DIR --version 2

Needs PyTorch (the extra `train`). Seeds are fixed: two runs on one machine give the same model, for any number of
parallel trainings. A killed run resumes from its checkpoints when it is started again, and ends with the same weights.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from earthsignature_assets.cli.progress import progress_bars
from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.training.learning_curve import draw_curves
from earthsignature_assets.training.network import Architecture
from earthsignature_assets.training.onnx_export import export
from earthsignature_assets.training.optimisation import Recipe
from recipes.corine_unet.cross_validation import Fold, Plan, TrainingData, folds_of, judge_folds
from recipes.corine_unet.data import CLASSES
from recipes.corine_unet.measurement import describe_version
from recipes.corine_unet.pretrained import PretrainedArchitecture
from recipes.corine_unet.training_pool import Training, train_distilled

_NOTES = (
    "Half of the samples are shown in another season, with more or less senescent plants. A pixel without a code may "
    "have any class that Dynamic World's cover allows, at half the weight: in patches and around the training polygons "
    "(there with typical path radiance added). In training the network also predicts Dynamic World's probabilities of "
    "its nine covers under every random atmosphere; the exported graph leaves them out. The network is the average of "
    "its weights over the last steps. Seconds are processor seconds over threads."
)
_PRETRAINED = " It starts from the weights of Dynamic World V1 except for its heads, and every layer is fine-tuned."
_DISTILLED = (
    " In addition to the labels it learns the mean of {} networks that were trained alike with other seeds: their "
    "probabilities of every pixel, at either level and under six other atmospheres; the seconds include theirs."
)


def train_version(
    data: TrainingData, repository: Path, model: ModelVersion, plan: Plan, progress: Progress
) -> dict[str, Any]:
    """Cross-validate, train, export and describe a version, and move it into the repository as a whole.

    Checkpoints are in `<repository>/.training/<model>` until the version is published.

    Returns:
        The version's `evaluation.json`.

    Raises:
        TrainingError: the loss is not a number, or a checkpoint belongs to another training.
        ModelError: the exported graph disagrees with the network.
    """
    checkpoints = repository / ".training" / str(model)
    folds = folds_of(data, plan, checkpoints)
    final = _final_training(data, plan, folds, str(model), checkpoints)
    trainings = [final, *(fold.training for fold in folds)]  # the longest first, so that no process is idle at the end
    trained, *of_folds = train_distilled(trainings, plan.teachers, plan.processes, progress)
    patches, polygons = judge_folds(data, folds, [one.network for one in of_folds], plan)
    figures: dict[str, Any] = {
        "model": str(model),
        "training": {
            "samples": len(final.samples),
            "epochs": len(trained.curve.losses),
            "tile_side": plan.recipe.side,
            "seed": plan.recipe.seed,
            "teachers": plan.teachers,
            "threads": plan.recipe.threads,
            "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
            "seconds": round(trained.seconds / plan.recipe.threads),
            "notes": _notes(plan),
        },
        "eurosat": patches,
        "hateg_folds": polygons,
    }
    curves = {fold.training.title: one.curve for fold, one in zip(folds, of_folds, strict=True)}
    repository.mkdir(parents=True, exist_ok=True)
    # Staged in the same file system, then moved: the repository never holds an incomplete version.
    with TemporaryDirectory(prefix=".staged-", dir=repository) as staged:
        folder = ModelRepository(Path(staged)).folder(model)
        description = export(trained.network, model, folder, CLASSES, training_range=data.reflectance_range())
        describe_version(folder, description, data.scene, data.held_out, data.patches, figures, plan.recipe.threads)
        draw_curves({**curves, "final": trained.curve}, folder / "learning_curves.png", f"Training of {model}")
        evaluation: dict[str, Any] = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        _publish(Path(staged), repository, model)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return evaluation


def _notes(plan: Plan) -> str:
    begun = _PRETRAINED if isinstance(plan.architecture, PretrainedArchitecture) else ""
    return _NOTES + begun + (_DISTILLED.format(plan.teachers) if plan.teachers else "")


def _final_training(data: TrainingData, plan: Plan, folds: list[Fold], title: str, checkpoints: Path) -> Training:
    """Plan the training on all patches and the training polygons; with patience the first fold's patches validate."""
    validation = folds[0].patches if plan.recipe.patience else ()
    unseen = {patch.name for patch in validation}
    patches = [patch for patch in data.patches if patch.name not in unseen]
    return Training(
        title=title,
        samples=[*patches, *data.polygons(data.training, plan.margin)],
        recipe=plan.recipe,
        architecture=plan.architecture,
        validation=validation,
        checkpoint=checkpoints / "final.pt",
    )


def outcome(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the two main figures: held-out patches of EuroSAT, and held-out pixels of Hațeg over five classes."""
    return {
        "eurosat_held_out_patches": evaluation["eurosat"]["patches"]["overall_accuracy"],
        "hateg_held_out_pixels": evaluation["hateg"]["pixels_grouped"]["overall_accuracy"],
    }


@click.command(context_settings={"show_default": True})
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The data folder: eurosat_ms_geotorchai, s2_hateg_34TFR_20181016, dynamicworld.",
)
@click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The model repository to write into.",
)
@click.option("--name", default="corine-unet", help="The model's name.")
@click.option(
    "--version", type=click.IntRange(1), required=True, help="The version to write; an existing one is replaced."
)
@click.option(
    "--from-scratch",
    is_flag=True,
    help="Train a smaller and faster U-Net of --width and --depth from random weights, each taught by two others, "
    "instead of one that starts from Dynamic World's weights.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Epochs of the final training, instead of the plan's; an epoch has as many tiles as there are samples.",
)
@click.option(
    "--fold-epochs", type=click.IntRange(1), help="Epochs of every cross-validation training, instead of the plan's."
)
@click.option("--folds", type=click.IntRange(2), default=Plan.folds, help="Cross-validation folds over EuroSAT.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=Recipe.patience,
    help="Stop the final training after this number of epochs without a better accuracy on the first fold, which is "
    "then held out; 0 trains on all data to the end.",
)
@click.option(
    "--teachers",
    type=click.IntRange(0),
    help="Networks that each network learns from in addition to the labels, instead of the plan's.",
)
@click.option("--width", type=click.IntRange(4), default=Architecture.width, help="Channels at 10 m, from scratch.")
@click.option("--depth", type=click.IntRange(1, 5), default=Architecture.depth, help="Halvings, from scratch.")
@click.option("--seed", type=int, default=Recipe.seed, help="Seed of all random numbers in training.")
@click.option("--threads", type=click.IntRange(1), default=Recipe.threads, help="Threads of PyTorch and ONNX Runtime.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=Plan.processes,
    help="Parallel trainings, each in a separate process; the weights do not depend on the number.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default=Recipe.device, help="Device of PyTorch.")
def main(
    data: Path,
    repository: Path,
    name: str,
    version: int,
    from_scratch: bool,
    epochs: int | None,
    fold_epochs: int | None,
    folds: int,
    patience: int,
    teachers: int | None,
    width: int,
    depth: int,
    seed: int,
    threads: int,
    processes: int,
    device: str,
) -> None:
    """Train, cross-validate, export and describe one version of the land-cover model.

    Writes model.onnx, model.json, evaluation.json, evaluation.png, learning_curves.png and card.md into the version's
    folder, and config.pbtxt next to it. After a kill, run it again: it resumes from the last epoch.
    """
    console = Console()
    plan = Plan.from_scratch(width=width, depth=depth) if from_scratch else Plan.pretrained(data)
    recipe = replace(plan.recipe, seed=seed, patience=patience, threads=threads, device=device)
    plan = replace(
        plan,
        recipe=replace(recipe, epochs=epochs or recipe.epochs),
        fold_epochs=fold_epochs or plan.fold_epochs,
        folds=folds,
        teachers=plan.teachers if teachers is None else teachers,
        processes=processes,
    )
    try:
        model = ModelVersion(name, version)
        with progress_bars(console) as progress:
            evaluation = train_version(TrainingData.read(data, threads), repository, model, plan, progress)
    except EarthSignatureError as error:
        raise click.ClickException(str(error)) from error
    figures = outcome(evaluation)
    console.print(
        f"{model} written to {ModelRepository(repository).folder(model)}: Hațeg held-out pixels "
        f"{figures['hateg_held_out_pixels']:.1%} over five classes, EuroSAT held-out patches "
        f"{figures['eurosat_held_out_patches']:.1%}."
    )


def _publish(staged: Path, repository: Path, model: ModelVersion) -> None:
    """Move a staged version into the repository, and an existing one out of it first."""
    target = ModelRepository(repository).folder(model)
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(staged / "replaced")
    ModelRepository(staged).folder(model).rename(target)
    (staged / model.name / "config.pbtxt").replace(target.parent / "config.pbtxt")


if __name__ == "__main__":
    main()
