"""Cross-validation of a recipe: folds of places and of polygons, each evaluated with a network that has not seen it.

Needs PyTorch (the extra `train`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earthsignature_assets.evaluation.block_counts import BlockCounts
from earthsignature_assets.evaluation.confusion import majority
from earthsignature_assets.ground_truth.samples import VOID, Sample
from earthsignature_assets.models.input_range import InputRange
from earthsignature_assets.training.augmentation import as_typical_surface, surface_range
from earthsignature_assets.training.network import Architecture, NetworkArchitecture, SegmentationNetwork
from earthsignature_assets.training.optimisation import Recipe, predict_any
from recipes.corine_unet.atmospheres import as_typical_top
from recipes.corine_unet.comparison import polygon_counts, summed
from recipes.corine_unet.data import (
    CLASS_CODES,
    CLASSES,
    EUROSAT_CODES,
    LabelledScene,
    polygon_samples,
    read_eurosat,
    read_hateg,
)
from recipes.corine_unet.folds import polygon_folds, spatial_folds, split_polygons
from recipes.corine_unet.label_groups import judge_patches
from recipes.corine_unet.pretrained import PretrainedArchitecture
from recipes.corine_unet.teacher import COVERS, DynamicWorld, refine, supplement
from recipes.corine_unet.training_pool import Training

_APART_KM = 50.0
_TABLE = np.array([VOID, *CLASS_CODES], np.uint16)


def dynamic_world(data: Path) -> Path:
    """Return the path of Dynamic World's forward model in the data folder: teacher and initial weights."""
    return data / "dynamicworld" / "dynamicworld_forward_opset18.onnx"


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Data for training and evaluation: patches, and a scene whose polygons are partly held out.

    `covers`, (9, height, width) float32, are the teacher's probabilities on the scene.
    """

    patches: tuple[Sample, ...]
    scene: LabelledScene
    covers: npt.NDArray[np.float32]
    training: tuple[int, ...]
    held_out: tuple[int, ...]

    @classmethod
    def read(cls, data: Path, threads: int = 2) -> Self:
        """Read the data folder; the teacher refines the patches' labels and predicts the covers of patches and scene.

        Raises:
            GroundTruthError: a part cannot be read.
            ModelError: the teacher is missing.
        """
        teacher = DynamicWorld(dynamic_world(data), threads)
        patches = []
        for patch in read_eurosat(data / "eurosat_ms_geotorchai"):
            covers = teacher.covers(patch.reflectance)
            patches.append(replace(supplement(refine(patch, covers), covers), covers=covers))
        scene = read_hateg(data / "s2_hateg_34TFR_20181016")
        # The teacher expects level-1C.
        covers = teacher.covers(as_typical_top(scene.reflectance))
        return cls(tuple(patches), scene, covers, *split_polygons(scene.labels))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of all polygons."""
        return tuple(range(1, len(self.scene.labels) + 1))

    def polygons(self, numbers: Sequence[int], margin: int) -> list[Sample]:
        """Cut a sample around each of these polygons; all other polygons are blank, the surroundings unlabelled."""
        samples = polygon_samples(self.scene, numbers, margin, self.covers)
        return [supplement(sample, sample.covers) for sample in samples if sample.covers is not None]

    def reflectance_range(self) -> InputRange:
        """Measure the range of the training samples' reflectance; level-1C samples lose typical path radiance first."""
        return surface_range((*self.patches, *polygon_samples(self.scene, self.training)))


@dataclass(frozen=True)
class Plan:
    """The plan of a version's trainings: the final one, and the folds that cross-validate its recipe.

    Attributes:
        architecture: architecture of every network.
        recipe: settings of every network. With patience, the first fold is the validation region of the final training.
        fold_epochs: epochs of the folds, which have fewer samples.
        folds: number of folds.
        teachers: number of networks that each network learns from, see `distillation`.
        margin: pixels around a polygon.
        processes: trainings at a time.
    """

    architecture: NetworkArchitecture
    recipe: Recipe = field(default_factory=Recipe)
    fold_epochs: int = 64
    folds: int = 4
    teachers: int = 0
    margin: int = 72
    processes: int = 2

    @classmethod
    def pretrained(cls, data: Path, epochs: int = 48) -> Self:
        """Plan networks that start from Dynamic World's weights in the data folder, as `make train` does."""
        architecture = PretrainedArchitecture(classes=len(CLASSES), covers=len(COVERS), graph=dynamic_world(data))
        return cls(architecture, Recipe(epochs=epochs, learning_rate=1e-3), fold_epochs=epochs)

    @classmethod
    def from_scratch(cls, epochs: int = 64, width: int = Architecture.width, depth: int = Architecture.depth) -> Self:
        """Plan networks that start from random weights, each taught by two networks of its kind, see `distillation`."""
        architecture = Architecture(classes=len(CLASSES), covers=len(COVERS), width=width, depth=depth)
        return cls(architecture, Recipe(epochs=epochs), fold_epochs=epochs, teachers=2)


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: its held-out patches and polygons, and its training."""

    patches: tuple[Sample, ...]
    polygons: tuple[int, ...]
    training: Training


def folds_of(data: TrainingData, plan: Plan, checkpoints: Path | None = None, *, polygons: bool = True) -> list[Fold]:
    """Split places and polygons into folds.

    The held-out part selects nothing: its accuracy is only recorded, and the last epoch counts.

    Args:
        data: patches and polygons; each is held out once.
        plan: the plan of the trainings.
        checkpoints: folder of the checkpoints; None stores none.
        polygons: whether training sees polygons; otherwise every fold holds all of them out.
    """
    fold_of = spatial_folds(data.patches, plan.folds, _APART_KM)
    polygon_fold_of = polygon_folds(data.scene.labels, plan.folds)
    found = []
    for fold in range(plan.folds):
        kept_out = tuple(patch for patch, other in zip(data.patches, fold_of, strict=True) if other == fold)
        hidden = tuple(number for number in data.numbers if not polygons or polygon_fold_of[number - 1] == fold)
        training = Training(
            title=f"fold {fold + 1} of {plan.folds}",
            samples=[
                *(patch for patch, other in zip(data.patches, fold_of, strict=True) if other != fold),
                *data.polygons([number for number in data.numbers if number not in hidden], plan.margin),
            ],
            recipe=replace(plan.recipe, epochs=plan.fold_epochs, patience=0),
            architecture=plan.architecture,
            validation=kept_out,
            checkpoint=checkpoints / f"fold-{fold + 1}.pt" if checkpoints else None,
        )
        found.append(Fold(kept_out, hidden, training))
    return found


View = Callable[[npt.NDArray[np.uint16]], npt.NDArray[np.uint16]]


def answers_of_folds(
    folds: Sequence[Fold], networks: Sequence[SegmentationNetwork], view: View = lambda image: image
) -> Iterator[tuple[Sample, npt.NDArray[np.uint16]]]:
    """Yield each patch with the codes predicted for a view of its surface by the network that has not seen it."""
    for fold, network in zip(folds, networks, strict=True):
        for patch in fold.patches:
            yield patch, _TABLE[predict_any(network, view(as_typical_surface(patch)))]


def polygon_counts_of_folds(
    scene: LabelledScene,
    folds: Sequence[Fold],
    networks: Sequence[SegmentationNetwork],
    view: View = lambda image: image,
) -> BlockCounts:
    """Count the pixels of each polygon in a view of the scene, predicted by networks that have not seen it."""
    image = view(scene.reflectance)
    return summed(
        [
            polygon_counts(scene, fold.polygons, _TABLE[predict_any(network, image)])
            for fold, network in zip(folds, networks, strict=True)
        ]
    )


def judge_folds(
    data: TrainingData, folds: Sequence[Fold], networks: Sequence[SegmentationNetwork], plan: Plan
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Evaluate each fold's network on the held-out part.

    Returns:
        The figures of the patches, and of the polygons' pixels over the five classes that their labels support; counts
        sum over folds. `answers` hold the most frequent code of each patch, and the pixels of each predicted class of
        each polygon, so that two versions can be compared block by block.
    """
    predicted = list(answers_of_folds(folds, networks))
    samples, answers = [patch for patch, _ in predicted], [answer for _, answer in predicted]
    figures = judge_patches(samples, answers, EUROSAT_CODES, CLASS_CODES)
    each = {patch.name: patch_answer(patch, answer) for patch, answer in predicted}
    polygons = polygon_counts_of_folds(data.scene, folds, networks)
    pixels = {
        block: {name: int(count) for name, count in zip(polygons.names, counts, strict=True) if count}
        for block, counts in zip(polygons.blocks, polygons.counts.sum(axis=1), strict=True)
    }
    head = {"folds": plan.folds, "apart_km": _APART_KM, "epochs": plan.fold_epochs}
    return {**head, **figures, "answers": each}, {**polygons.total.to_dict(), "answers": pixels}


def patch_answer(patch: Sample, predicted: npt.NDArray[np.uint16]) -> dict[str, Any]:
    """Return the code of a patch's label, its most frequent predicted code, and the share of correct pixels."""
    code = EUROSAT_CODES[patch.label]
    own = predicted[patch.codes == code] if code != VOID else predicted[:0].ravel()
    seen = own if patch.label == "River" else predicted
    return {
        "code": code,
        "predicted": majority(seen) if seen.size else None,
        "right": round(float((own == code).mean()), 4) if own.size else None,
    }
