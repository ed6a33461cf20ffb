"""Training: from the data folder to a measured version in the model repository.

    python -m earthsignature_assets.models.training --data DIR --repository DIR --version 2

Needs PyTorch (the extra `train`). Fixed seeds: two runs on one machine with as many threads give one model. A run that
was killed goes on from its checkpoints when it is started again, and ends with the same weights.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.augmentation import as_typical_surface, as_typical_top, surface_range
from earthsignature_assets.models.confusion import majority
from earthsignature_assets.models.evaluation import judge_patches
from earthsignature_assets.models.export import export
from earthsignature_assets.models.ground_truth import (
    CLASSES,
    EUROSAT_CODES,
    VOID,
    LabelledScene,
    Sample,
    polygon_samples,
    read_eurosat,
    read_hateg,
    spatial_folds,
    split_polygons,
)
from earthsignature_assets.models.input_range import InputRange
from earthsignature_assets.models.learning_curve import LearningCurve, draw_curves
from earthsignature_assets.models.measurement import describe_version
from earthsignature_assets.models.network import Architecture, UNet
from earthsignature_assets.models.optimisation import Recipe, predict_any, train
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.models.teacher import COVERS, DynamicWorld, refine, supplement

_APART_KM = 50.0
_NOTES = (
    "Half of the samples are shown in another season: green plants more, or less, turned. A pixel without a code of "
    "its own may be any class that Dynamic World's cover leaves open, at half the weight: in patches and around the "
    "training polygons (there with typical path radiance put on). In training the network also tells how probable "
    "Dynamic World holds each of its nine covers at each pixel, seen through every random atmosphere; the graph that "
    "ships leaves these answers out. The network is the average of its weights over the last steps. Seconds are "
    "processor seconds over threads: what idle cores would take."
)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a version is trained and judged on: patches, training polygons, and the scene with those held out."""

    patches: tuple[Sample, ...]
    polygons: tuple[Sample, ...]
    scene: LabelledScene
    held_out: tuple[int, ...]

    @classmethod
    def read(cls, data: Path, threads: int = 2) -> Self:
        """Read the data folder; the teacher refines the patches' labels, and tells the covers of patches and polygons.

        Raises:
            GroundTruthError: a part cannot be read.
            ModelError: the teacher is missing.
        """
        teacher = DynamicWorld(data / "dynamicworld" / "dynamicworld_forward_opset18.onnx", threads)
        patches = []
        for patch in read_eurosat(data / "eurosat_ms_geotorchai"):
            covers = teacher.covers(patch.reflectance)
            patches.append(replace(supplement(refine(patch, covers), covers), covers=covers))
        scene = read_hateg(data / "s2_hateg_34TFR_20181016")
        training, held_out = split_polygons(scene.labels)
        polygons = []
        for polygon in polygon_samples(scene, training):
            # What lies around a polygon is unlabelled; held-out polygons are blank in it.
            covers = teacher.covers(as_typical_top(polygon.reflectance))
            polygons.append(replace(supplement(polygon, covers), covers=covers))
        return cls(tuple(patches), tuple(polygons), scene, held_out)

    def reflectance_range(self) -> InputRange:
        """The range of the training samples' reflectance, level-1C with typical path radiance taken off."""
        return surface_range((*self.patches, *self.polygons))


@dataclass(frozen=True)
class Plan:
    """What `train_version` does: the final training, and the shorter ones that cross-validate it.

    With patience in the recipe, the final training keeps the first fold out as its validation region.
    """

    recipe: Recipe = field(default_factory=Recipe)
    fold_epochs: int = 80
    folds: int = 4
    architecture: Architecture = field(default_factory=lambda: Architecture(classes=len(CLASSES), covers=len(COVERS)))


def train_version(
    data: TrainingData, repository: Path, model: ModelVersion, plan: Plan, progress: Progress
) -> dict[str, Any]:
    """Cross-validate, train, export and describe a version, and move it into the repository whole.

    Checkpoints are in `<repository>/.training/<model>` until the version is there.

    Returns:
        The version's `evaluation.json`.

    Raises:
        TrainingError: the loss is not a number, or a checkpoint is of another training.
        ModelError: the exported graph does not say what the network says.
    """
    checkpoints = repository / ".training" / str(model)
    eurosat, curves = cross_validate(data.patches, data.polygons, plan, progress, checkpoints)
    start = time.process_time()
    patches, validation = list(data.patches), list[Sample]()
    if plan.recipe.patience:
        fold_of = spatial_folds(patches, plan.folds, _APART_KM)
        validation = [patch for patch, fold in zip(patches, fold_of, strict=True) if fold == 0]
        patches = [patch for patch, fold in zip(patches, fold_of, strict=True) if fold != 0]
    network, curve = train(
        [*patches, *data.polygons],
        plan.recipe,
        plan.architecture,
        progress,
        str(model),
        validation=validation,
        checkpoint=checkpoints / "final.pt",
    )
    figures: dict[str, Any] = {
        "model": str(model),
        "training": {
            "samples": len(patches) + len(data.polygons),
            "epochs": len(curve.losses),
            "tile_side": plan.recipe.side,
            "seed": plan.recipe.seed,
            "threads": plan.recipe.threads,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "seconds": round((time.process_time() - start) / plan.recipe.threads),
            "notes": _NOTES,
        },
        "eurosat": eurosat,
    }
    repository.mkdir(parents=True, exist_ok=True)
    # Staged in the same file system, then moved: the repository never holds half a version.
    with TemporaryDirectory(prefix=".staged-", dir=repository) as staged:
        folder = ModelRepository(Path(staged)).folder(model)
        description = export(network, model, folder, training_range=data.reflectance_range())
        describe_version(folder, description, data.scene, data.held_out, data.patches, figures, plan.recipe.threads)
        draw_curves({**curves, "all of it": curve}, folder / "learning_curves.png", f"Training of {model}")
        evaluation: dict[str, Any] = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        _publish(Path(staged), repository, model)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return evaluation


def cross_validate(
    patches: Sequence[Sample],
    polygons: Sequence[Sample],
    plan: Plan,
    progress: Progress,
    checkpoints: Path | None = None,
    judge: Callable[[UNet, Sequence[Sample]], None] | None = None,
    taught: Sequence[Sample] | None = None,
) -> tuple[dict[str, Any], dict[str, LearningCurve]]:
    """Train once a fold without the fold's places, and judge the fold's patches.

    Nothing is chosen by the fold's own patches: their accuracy is watched, and the last epoch counts. `judge` is given
    the network of every fold and the patches that it has not seen. `taught` are the same patches with the labels that
    training is shown instead.

    Returns:
        The figures, whose counts sum over folds, with the most frequent code of every patch (`answers`), by which
        two versions can be compared patch by patch; and the learning curve of every fold.
    """
    recipe = replace(plan.recipe, epochs=plan.fold_epochs, patience=0)
    fold_of = spatial_folds(patches, plan.folds, _APART_KM)
    predicted: dict[str, npt.NDArray[np.uint16]] = {}
    curves = {}
    table = np.array([0, *_codes()], np.uint16)
    for fold in range(plan.folds):
        seen = [patch for patch, other in zip(taught or patches, fold_of, strict=True) if other != fold]
        kept_out = [patch for patch, other in zip(patches, fold_of, strict=True) if other == fold]
        title = f"fold {fold + 1} of {plan.folds}"
        network, curves[title] = train(
            [*seen, *polygons],
            recipe,
            plan.architecture,
            progress,
            title,
            validation=kept_out,
            checkpoint=checkpoints / f"fold-{fold + 1}.pt" if checkpoints else None,
        )
        if judge:
            judge(network, kept_out)
        for patch in kept_out:
            predicted[patch.name] = table[predict_any(network, as_typical_surface(patch))]
    answers = [predicted[patch.name] for patch in patches]
    figures = judge_patches(patches, answers, EUROSAT_CODES, _codes())
    each = {patch.name: patch_answer(patch, answer) for patch, answer in zip(patches, answers, strict=True)}
    head = {"folds": plan.folds, "apart_km": _APART_KM, "epochs": recipe.epochs}
    return {**head, **figures, "answers": each}, curves


def patch_answer(patch: Sample, predicted: npt.NDArray[np.uint16]) -> dict[str, Any]:
    """A patch's code by its label, its most frequent predicted code, and the share of its labelled pixels found."""
    code = EUROSAT_CODES[patch.label]
    own = predicted[patch.codes == code] if code != VOID else predicted[:0].ravel()
    seen = own if patch.label == "River" else predicted
    return {
        "code": code,
        "predicted": majority(seen) if seen.size else None,
        "right": round(float((own == code).mean()), 4) if own.size else None,
    }


def _codes() -> list[int]:
    return [entry.code for entry in CLASSES]


def progress_bars(console: Console) -> Progress:
    """The bars that show a training: title and loss, steps, time gone and time to go."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def outcome(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The two figures that say most: held-out patches of EuroSAT, and held-out pixels of Hațeg over five classes."""
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
    "--epochs",
    type=click.IntRange(1),
    default=Recipe.epochs,
    help="Epochs of the final training; one is as many tiles as there are samples.",
)
@click.option(
    "--fold-epochs", type=click.IntRange(1), default=Plan.fold_epochs, help="Epochs of every cross-validation training."
)
@click.option("--folds", type=click.IntRange(2), default=Plan.folds, help="Cross-validation folds over EuroSAT.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=Recipe.patience,
    help="Stop the final training after so many epochs without a better accuracy on the first fold, which it then does "
    "not see; 0 trains on all of it to the end.",
)
@click.option("--width", type=click.IntRange(4), default=Architecture.width, help="Channels at the full resolution.")
@click.option("--depth", type=click.IntRange(1, 5), default=Architecture.depth, help="Halvings of the resolution.")
@click.option("--seed", type=int, default=Recipe.seed, help="The seed of everything random in training.")
@click.option("--threads", type=click.IntRange(1), default=Recipe.threads, help="Threads of PyTorch and ONNX Runtime.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default=Recipe.device, help="Where PyTorch computes.")
def main(
    data: Path,
    repository: Path,
    name: str,
    version: int,
    epochs: int,
    fold_epochs: int,
    folds: int,
    patience: int,
    width: int,
    depth: int,
    seed: int,
    threads: int,
    device: str,
) -> None:
    """Train, cross-validate, export and describe one version of the land-cover model.

    Writes model.onnx, model.json, evaluation.json, evaluation.png, learning_curves.png and card.md into the version's
    folder, and config.pbtxt beside it. Run it again after a kill: it goes on from the last epoch.
    """
    console = Console()
    plan = Plan(
        recipe=Recipe(epochs=epochs, seed=seed, patience=patience, threads=threads, device=device),
        fold_epochs=fold_epochs,
        folds=folds,
        architecture=Architecture(classes=len(CLASSES), width=width, depth=depth, covers=len(COVERS)),
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
    """Move a staged version into the repository; one that is there is moved out of the way first."""
    target = ModelRepository(repository).folder(model)
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(staged / "replaced")
    ModelRepository(staged).folder(model).rename(target)
    (staged / model.name / "config.pbtxt").replace(target.parent / "config.pbtxt")


if __name__ == "__main__":
    main()
