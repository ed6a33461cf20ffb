"""Training of a model version on a training set, with early stopping. Needs PyTorch (the extra `train`)."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.progress import Progress

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.samples import VOID
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set import TrainingSet
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository, PredictedClass
from earthsignature_assets.nomenclature import name_at_level
from earthsignature_assets.training.augmentation import surface_range
from earthsignature_assets.training.learning_curve import LearningCurve, draw_curves
from earthsignature_assets.training.network import Architecture
from earthsignature_assets.training.onnx_export import export
from earthsignature_assets.training.optimisation import Recipe, train

CURVES, TRAINING = "learning_curves.png", "training.json"


@dataclass(frozen=True)
class SetPlan:
    """Plan of a training on a set: the recipe, and the width and depth of the network."""

    recipe: Recipe = field(default_factory=lambda: Recipe(patience=12))
    width: int = Architecture.width
    depth: int = Architecture.depth


@dataclass(frozen=True)
class TrainedVersion:
    """Result of a training on a set."""

    description: ModelDescription
    folder: Path
    curve: LearningCurve
    samples: int


def classes_of(training_set: TrainingSet) -> tuple[PredictedClass, ...]:
    """Return the classes with pixels in the training split, each at the level to which most of its pixels are known.

    Raises:
        GroundTruthError: there is no labelled pixel.
    """
    known: dict[int, Counter[int]] = {}
    for number in training_set.numbers(Split.TRAIN):
        truth = training_set.truth(number)
        labelled = truth.codes != VOID
        pairs, counts = np.unique(np.stack([truth.codes[labelled], truth.levels[labelled]]), axis=1, return_counts=True)
        for (code, level), count in zip(pairs.T, counts, strict=True):
            known.setdefault(int(code), Counter())[int(level)] += int(count)
    if not known:
        raise GroundTruthError(f"{training_set.folder}: the training split has no labelled pixel")
    found = []
    for code, levels in sorted(known.items()):
        level = levels.most_common(1)[0][0]
        found.append(PredictedClass(code, level, f"{name_at_level(code, level)}: {levels.total():,} pixels"))
    return tuple(found)


def train_on_set(
    training_set: TrainingSet,
    repository: Path,
    model: ModelVersion,
    plan: SetPlan,
    report: Callable[[int, int], None] | None = None,
) -> TrainedVersion:
    """Train on the training split, keep the best epoch on the validation split, and write the version.

    The version appears in the repository whole, with `learning_curves.png` and `training.json` next to its graph. A
    killed run resumes from `<repository>/.training/<model>` when it is started again.

    Raises:
        GroundTruthError: a split is empty.
        TrainingError: the loss is not a number.
        ModelError: the exported graph disagrees with the network.
    """
    classes = classes_of(training_set)
    samples = [training_set.sample(number) for number in training_set.numbers(Split.TRAIN)]
    validation = [training_set.sample(number) for number in training_set.numbers(Split.VALIDATION)]
    if plan.recipe.patience and not validation:
        raise GroundTruthError(
            f"{training_set.folder} has no sample in the split validation: give it a share in the recipe, or train "
            "with patience 0"
        )
    architecture = Architecture(classes=len(classes), width=plan.width, depth=plan.depth)
    checkpoints = repository / ".training" / str(model)
    network, curve = train(
        samples,
        plan.recipe,
        architecture,
        Progress(disable=True),
        str(model),
        classes=[entry.code for entry in classes],
        validation=validation,
        checkpoint=checkpoints / "set.pt",
        report=report,
    )
    target = ModelRepository(repository).folder(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".staged-", dir=repository) as staged:
        folder = ModelRepository(Path(staged)).folder(model)
        description = export(
            network,
            model,
            folder,
            classes,
            training_range=surface_range(samples),
            training_set=training_set.identity,
        )
        draw_curves({"validation": curve}, folder / CURVES, f"Training of {model} on {training_set.report['name']}")
        facts = {
            "training_set": training_set.report["name"],
            "identity": training_set.identity,
            "samples": len(samples),
            "validation_samples": len(validation),
            "epochs": len(curve.losses),
            "seed": plan.recipe.seed,
            "losses": curve.losses,
            "validation_accuracies": curve.accuracies if validation else None,
        }
        (folder / TRAINING).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        folder.rename(target)
        configuration = target.parent / "config.pbtxt"
        if not configuration.exists():
            (Path(staged) / model.name / "config.pbtxt").replace(configuration)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainedVersion(description, target, curve, len(samples))
