"""Training: from the data folder to a measured version in the model repository.

    python -m earthsignature_assets.models.training --data DIR --repository DIR --version 1

Needs PyTorch (the extra `train`). Fixed seeds: two runs on one machine with as many threads give one model.
"""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from earthsignature_assets.errors import EarthSignatureError, GroundTruthError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.augmentation import TileMaker, as_typical_surface
from earthsignature_assets.models.evaluation import judge_patches
from earthsignature_assets.models.export import export
from earthsignature_assets.models.ground_truth import (
    CLASSES,
    EUROSAT_CODES,
    Sample,
    polygon_samples,
    read_eurosat,
    read_hateg,
    spatial_folds,
    split_polygons,
)
from earthsignature_assets.models.measurement import describe_version
from earthsignature_assets.models.network import LOG_SCALE, Architecture, UNet, predict
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.models.teacher import DynamicWorld, refine

_APART_KM = 50.0


@dataclass(frozen=True)
class Recipe:
    """What one training run does; two runs of one recipe on one machine give one network.

    An epoch is as many tiles as there are samples. `threads` is what PyTorch may use.
    """

    epochs: int = 60
    seed: int = 20181016
    side: int = 96
    batch: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    threads: int = 2


def train(
    samples: Sequence[Sample], recipe: Recipe, architecture: Architecture, progress: Progress, title: str
) -> UNet:
    """Train a network from random weights.

    Args:
        samples: the labelled samples; their codes are those of `CLASSES`, or void.
        recipe: what to do.
        architecture: the network's width and depth.
        progress: shows how far the run is and its loss.
        title: the line that `progress` shows.

    Raises:
        GroundTruthError: no labelled pixel, or the loss is not a number.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    generator = np.random.default_rng(recipe.seed)
    maker = TileMaker(samples, recipe.side, generator)
    # Channels last: the CPU's convolutions are a fifth faster.
    network: UNet = UNet(architecture, *_statistics(maker)).to(memory_format=torch.channels_last)
    network.train()
    steps = math.ceil(recipe.epochs * len(samples) / recipe.batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.15)
    task = progress.add_task(title, total=steps)
    average = math.nan
    # One worker makes the next batch while the network learns: the order of draws stays fixed.
    with ThreadPoolExecutor(1) as worker:
        upcoming = worker.submit(_batch, maker, recipe.batch)
        for _ in range(steps):
            images, allowed, weights = upcoming.result()
            upcoming = worker.submit(_batch, maker, recipe.batch)
            optimiser.zero_grad(set_to_none=True)
            loss = masked_loss(network(images.to(memory_format=torch.channels_last)), allowed, weights)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise GroundTruthError(
                    f"{title}: the loss became {value}; lower the learning rate or check the samples"
                )
            average = value if math.isnan(average) else 0.98 * average + 0.02 * value
            progress.update(task, advance=1, description=f"{title}, loss {average:.3f}")
    network.eval()
    return network


def masked_loss(
    logits: torch.Tensor, allowed: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.05
) -> torch.Tensor:
    """Return the weighted cross-entropy of pixels against sets of classes.

    A pixel costs minus the logarithm of the probability of all its allowed classes together, and a share of the
    mean over all classes (label smoothing, so that 200 patches do not make the network sure of itself).

    Args:
        logits: (n, classes, height, width).
        allowed: the same shape, bool; a pixel without any allowed class is void and costs nothing.
        weights: (n, height, width).
        smoothing: the share of the mean over all classes.
    """
    logarithms = torch.log_softmax(logits, dim=1)
    known = allowed.any(dim=1)
    # A void pixel is allowed everything: it costs nothing, without a logarithm of nothing.
    right = torch.logsumexp(logarithms.masked_fill(~(allowed | ~known[:, None]), -1e4), dim=1)
    costs = -(1 - smoothing) * right - smoothing * logarithms.mean(dim=1)
    effective = weights * known
    return (costs * effective).sum() / effective.sum().clamp(min=1)


def _batch(maker: TileMaker, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return reflectance (size, 10, side, side) float32, allowed classes bool, and weights, as in `masked_loss`."""
    tiles = [maker.tile() for _ in range(size)]
    codes, also = np.stack([tile.codes for tile in tiles]), np.stack([tile.also for tile in tiles])
    allowed = np.stack([(codes == code) | (also == code) for code in _codes()], axis=1)
    images, weights = np.stack([tile.reflectance for tile in tiles]), np.stack([tile.weights for tile in tiles])
    return torch.from_numpy(images), torch.from_numpy(allowed), torch.from_numpy(weights)


def _statistics(maker: TileMaker, tiles: int = 64) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every band's logarithm over augmented tiles, no data left out."""
    images = np.stack([maker.tile().reflectance for _ in range(tiles)])
    observed = images.max(axis=1) > 0
    logarithms = np.log(np.moveaxis(images, 1, 0)[:, observed] + LOG_SCALE)
    return [float(value) for value in logarithms.mean(axis=1)], [float(value) for value in logarithms.std(axis=1)]


def cross_validate(
    patches: Sequence[Sample],
    polygons: Sequence[Sample],
    recipe: Recipe,
    architecture: Architecture,
    folds: int,
    progress: Progress,
) -> dict[str, Any]:
    """Train once a fold without the fold's places, and judge the fold's patches; the counts sum over folds."""
    fold_of = spatial_folds(patches, folds, _APART_KM)
    predicted: dict[str, npt.NDArray[np.uint16]] = {}
    for fold in range(folds):
        seen = [patch for patch, other in zip(patches, fold_of, strict=True) if other != fold]
        network = train([*seen, *polygons], recipe, architecture, progress, f"fold {fold + 1} of {folds}")
        for patch, other in zip(patches, fold_of, strict=True):
            if other == fold:
                predicted[patch.name] = _code_table()[predict(network, as_typical_surface(patch)[None])[0]]
    answers = [predicted[patch.name] for patch in patches]
    figures = judge_patches(patches, answers, EUROSAT_CODES, _codes())
    return {"folds": folds, "apart_km": _APART_KM, "epochs": recipe.epochs, **figures}


def _codes() -> list[int]:
    return [entry.code for entry in CLASSES]


def _code_table() -> npt.NDArray[np.uint16]:
    return np.array([0, *_codes()], np.uint16)


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
@click.option("--fold-epochs", type=click.IntRange(1), default=32, help="Epochs of every cross-validation training.")
@click.option("--folds", type=click.IntRange(2), default=4, help="Cross-validation folds over EuroSAT.")
@click.option("--width", type=click.IntRange(4), default=Architecture.width, help="Channels at the full resolution.")
@click.option("--depth", type=click.IntRange(1, 5), default=Architecture.depth, help="Halvings of the resolution.")
@click.option("--seed", type=int, default=Recipe.seed, help="The seed of everything random in training.")
@click.option("--threads", type=click.IntRange(1), default=Recipe.threads, help="Threads of PyTorch and ONNX Runtime.")
def main(
    data: Path,
    repository: Path,
    name: str,
    version: int,
    epochs: int,
    fold_epochs: int,
    folds: int,
    width: int,
    depth: int,
    seed: int,
    threads: int,
) -> None:
    """Train, cross-validate, export and describe one version of the land-cover model.

    Writes model.onnx, model.json, evaluation.json, evaluation.png and card.md into the version's folder, and
    config.pbtxt beside it.
    """
    console = Console()
    architecture = Architecture(classes=len(CLASSES), width=width, depth=depth)
    recipe = Recipe(epochs=epochs, seed=seed, threads=threads)
    try:
        model = ModelVersion(name, version)
        teacher = DynamicWorld(data / "dynamicworld" / "dynamicworld_forward_opset18.onnx", threads)
        raw = read_eurosat(data / "eurosat_ms_geotorchai")
        patches = [refine(patch, teacher.covers(patch.reflectance)) for patch in raw]
        scene = read_hateg(data / "s2_hateg_34TFR_20181016")
        training, held_out = split_polygons(scene.labels)
        polygons = polygon_samples(scene, training)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            fold_recipe = replace(recipe, epochs=fold_epochs)
            eurosat = cross_validate(patches, polygons, fold_recipe, architecture, folds, progress)
            start = time.perf_counter()
            network = train([*patches, *polygons], recipe, architecture, progress, str(model))
            seconds = time.perf_counter() - start
        figures: dict[str, Any] = {
            "model": str(model),
            "training": {
                "samples": len(patches) + len(polygons),
                "epochs": epochs,
                "tile_side": recipe.side,
                "seed": seed,
                "threads": threads,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "seconds": round(seconds),
            },
            "eurosat": eurosat,
        }
        repository.mkdir(parents=True, exist_ok=True)
        # Staged in the same file system, then moved: the repository never holds half a version.
        with TemporaryDirectory(prefix=".staged-", dir=repository) as staged:
            folder = ModelRepository(Path(staged)).folder(model)
            description = export(network, model, folder)
            accuracy = describe_version(folder, description, scene, held_out, figures, threads)
            _publish(Path(staged), repository, model)
    except EarthSignatureError as error:
        raise click.ClickException(str(error)) from error
    console.print(
        f"{model} written to {ModelRepository(repository).folder(model)}: Hațeg held-out pixels {accuracy:.1%} over "
        f"five classes, EuroSAT held-out patches {eurosat['patches']['overall_accuracy']:.1%}."
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
