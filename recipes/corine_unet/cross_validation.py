"""Cross-validation of a recipe: folds of places and of polygons, each judged by a network that has seen none of them.

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
    """Where Dynamic World's forward model is in the data folder: teacher, and where networks begin."""
    return data / "dynamicworld" / "dynamicworld_forward_opset18.onnx"


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a version is trained and judged on: patches, and a scene whose polygons are partly held out.

    `covers`, (9, height, width) float32, are the teacher's probabilities on the scene.
    """

    patches: tuple[Sample, ...]
    scene: LabelledScene
    covers: npt.NDArray[np.float32]
    training: tuple[int, ...]
    held_out: tuple[int, ...]

    @classmethod
    def read(cls, data: Path, threads: int = 2) -> Self:
        """Read the data folder; the teacher refines the patches' labels, and tells the covers of patches and scene.

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
        """All polygons."""
        return tuple(range(1, len(self.scene.labels) + 1))

    def polygons(self, numbers: Sequence[int], margin: int) -> list[Sample]:
        """A sample around each of these polygons; the pixels of all others are blank, and what is around unlabelled."""
        samples = polygon_samples(self.scene, numbers, margin, self.covers)
        return [supplement(sample, sample.covers) for sample in samples if sample.covers is not None]

    def reflectance_range(self) -> InputRange:
        """The range of the training samples' reflectance, level-1C with typical path radiance taken off."""
        return surface_range((*self.patches, *polygon_samples(self.scene, self.training)))


@dataclass(frozen=True)
class Plan:
    """What a version's training does: the final one, and the folds that cross-validate its recipe.

    Attributes:
        architecture: of every network.
        recipe: of every network. With patience, the final training keeps the first fold out as its validation region.
        fold_epochs: of the folds, which have fewer samples.
        folds: how many.
        teachers: networks that each network learns from, see `distillation`.
        margin: pixels shown around a polygon.
        processes: trainings at once.
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
        """Networks that begin from Dynamic World's weights, which the data folder holds: what `make train` does."""
        architecture = PretrainedArchitecture(classes=len(CLASSES), covers=len(COVERS), graph=dynamic_world(data))
        return cls(architecture, Recipe(epochs=epochs, learning_rate=1e-3), fold_epochs=epochs)

    @classmethod
    def from_scratch(cls, epochs: int = 64, width: int = Architecture.width, depth: int = Architecture.depth) -> Self:
        """Networks that begin from random weights, each taught by two of its kind, see `distillation`."""
        architecture = Architecture(classes=len(CLASSES), covers=len(COVERS), width=width, depth=depth)
        return cls(architecture, Recipe(epochs=epochs), fold_epochs=epochs, teachers=2)


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: what its network is not shown, and how it is trained."""

    patches: tuple[Sample, ...]
    polygons: tuple[int, ...]
    training: Training


def folds_of(data: TrainingData, plan: Plan, checkpoints: Path | None = None, *, polygons: bool = True) -> list[Fold]:
    """Split places and polygons into folds.

    Nothing is chosen by what a fold keeps out: its accuracy is watched, and the last epoch counts.

    Args:
        data: patches and polygons, of which each is kept out once.
        plan: how to train.
        checkpoints: a folder for what the trainings go on from after a kill.
        polygons: whether training sees any; otherwise every fold keeps all of them out.
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
    """Each patch with the codes that the network tells of a view of it, as surface, that has not seen it."""
    for fold, network in zip(folds, networks, strict=True):
        for patch in fold.patches:
            yield patch, _TABLE[predict_any(network, view(as_typical_surface(patch)))]


def polygon_counts_of_folds(
    scene: LabelledScene,
    folds: Sequence[Fold],
    networks: Sequence[SegmentationNetwork],
    view: View = lambda image: image,
) -> BlockCounts:
    """The pixels of each polygon, in a view of the scene, as told by networks that have not seen it."""
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
    """Judge what each fold's network has not seen.

    Returns:
        The figures of the patches, and of the polygons' pixels over the five classes that their labels can confirm;
        their counts sum over folds. `answers` are of each patch its most frequent code, of each polygon how many of its
        pixels were told which class: by them two versions can be compared block by block.
    """
    told = list(answers_of_folds(folds, networks))
    samples, answers = [patch for patch, _ in told], [answer for _, answer in told]
    figures = judge_patches(samples, answers, EUROSAT_CODES, CLASS_CODES)
    each = {patch.name: patch_answer(patch, answer) for patch, answer in told}
    polygons = polygon_counts_of_folds(data.scene, folds, networks)
    pixels = {
        block: {name: int(count) for name, count in zip(polygons.names, counts, strict=True) if count}
        for block, counts in zip(polygons.blocks, polygons.counts.sum(axis=1), strict=True)
    }
    head = {"folds": plan.folds, "apart_km": _APART_KM, "epochs": plan.fold_epochs}
    return {**head, **figures, "answers": each}, {**polygons.total.to_dict(), "answers": pixels}


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
