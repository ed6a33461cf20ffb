"""Optimisation of the weights of a network on labelled samples, resumable after a kill.

Every step depends on the recipe's seed and the step number only: tiles and dropout draw from generators seeded with
both. A resumed run therefore ends with the same bits as an uninterrupted one, on the same machine with the same number
of threads. Needs PyTorch (the extra `train`).
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from torch import nn

from earthsignature_assets.errors import TrainingError
from earthsignature_assets.ground_truth.samples import VOID, Sample
from earthsignature_assets.models.graph import padded
from earthsignature_assets.training.augmentation import Atmosphere, TileMaker, as_typical_surface
from earthsignature_assets.training.checkpoint import Checkpoint
from earthsignature_assets.training.learning_curve import LearningCurve
from earthsignature_assets.training.network import LOG_SCALE, NetworkArchitecture, SegmentationNetwork, predict

_STATISTICS_STEP = 1 << 31
"""Step number of the tiles that scale the input; no run reaches it."""

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run; two runs of one recipe on one machine give the same network.

    Attributes:
        epochs: number of epochs; an epoch has as many tiles as there are samples.
        seed: seed of all random numbers.
        side: height and width of a tile in pixels.
        batch: tiles a step.
        learning_rate: the peak; the rate rises for 15 % of the steps and then falls to 0.
        weight_decay: weight decay of AdamW.
        smoothing: label smoothing, see `masked_loss`.
        averaging: decay of the moving average of the weights, which is the result of the training.
        atmosphere: spread of gains, offsets and path radiance.
        season: share of samples that are shown in another season.
        teaching: weight of the teacher's covers in the loss, where the architecture has them.
        distilling: weight of soft labels in the loss, where samples have them.
        patience: epochs without a better validation accuracy after which training stops; 0 never stops.
        threads: threads of PyTorch; another number gives other bits.
        device: `cpu` or `cuda`.
        half: compute convolutions in bfloat16 where the processor has instructions for it (twice as fast); weights stay
            float32.
    """

    epochs: int = 64
    seed: int = 20181016
    side: int = 96
    batch: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    smoothing: float = 0.05
    averaging: float = 0.98
    atmosphere: Atmosphere = field(default_factory=Atmosphere)
    season: float = 0.5
    teaching: float = 1.0
    distilling: float = 1.0
    patience: int = 0
    threads: int = 1
    device: str = "cpu"
    half: bool = True


def train(
    samples: Sequence[Sample],
    recipe: Recipe,
    architecture: NetworkArchitecture,
    progress: Progress,
    title: str,
    *,
    classes: Sequence[int],
    validation: Sequence[Sample] = (),
    checkpoint: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[SegmentationNetwork, LearningCurve]:
    """Train a network from the start, or resume from a checkpoint of the same training.

    Args:
        samples: the labelled samples; their codes are some of `classes`, or void.
        recipe: the settings.
        architecture: the layers of the network.
        progress: shows the progress and the loss.
        title: title of the run in `progress` and in errors.
        classes: the CORINE codes in the order of the network's outputs.
        validation: samples of a held-out region, evaluated after every epoch.
        checkpoint: the file that stores the run after each epoch; the caller removes it.
        report: called with the number of steps done and the total.

    Returns:
        The network in evaluation mode on the processor, with the average of the weights after the last step or, with
        patience, after the epoch of the best validation accuracy; and the learning curve.

    Raises:
        GroundTruthError: no sample has a labelled pixel.
        TrainingError: the loss is not a number, or the checkpoint belongs to another training.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    generator = _generator(recipe, _STATISTICS_STEP)
    maker = TileMaker(samples, classes, recipe.side, generator, recipe.atmosphere, recipe.season, architecture.covers)
    # Convolutions on a CPU are a fifth faster with channels last.
    network = architecture.network(*_statistics(maker)).to(recipe.device, memory_format=torch.channels_last)
    average = deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    per_epoch = math.ceil(len(samples) / recipe.batch)
    steps = recipe.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.15)
    keeper = Checkpoint(checkpoint, (recipe, architecture, tuple(classes)), samples)
    state = keeper.resume(network, average, optimiser, schedule)
    task = progress.add_task(title, total=steps, completed=state.step)
    # One worker prepares the next batch while the network learns.
    with ThreadPoolExecutor(1) as worker:
        upcoming: Future[Batch] = worker.submit(_batch, maker, recipe, len(classes), state.step)
        while state.step < steps and not state.curve.exhausted(recipe.patience):
            batch = upcoming.result()
            upcoming = worker.submit(_batch, maker, recipe, len(classes), state.step + 1)
            loss = _step(network, batch, optimiser, recipe, state.step, title)
            schedule.step()
            _approach(average, network, min(recipe.averaging, (state.step + 1) / (state.step + 10)))
            state.step += 1
            state.losses.append(loss)
            if report:
                report(state.step, steps)
            progress.update(task, advance=1, description=f"{title}, loss {np.mean(state.losses[-50:]):.3f}")
            if state.step % per_epoch == 0:
                accuracy = validation_accuracy(average, validation, classes) if validation else math.nan
                best = state.curve.add(float(np.mean(state.losses)), accuracy)
                state.losses.clear()
                keeper.save(state, network, average, optimiser, schedule, best=best and recipe.patience > 0)
        upcoming.cancel()
    if recipe.patience and state.best is not None:
        average.load_state_dict(state.best)
    progress.update(task, completed=steps)
    return average.to("cpu").eval(), state.curve


def _step(
    network: SegmentationNetwork, batch: Batch, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, title: str
) -> float:
    """Take one step of gradient descent, and return its loss."""
    images, allowed, weights, covers, soft_labels = (part.to(recipe.device) for part in batch)
    torch.manual_seed(hash((recipe.seed, step)))
    network.train()
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.half and _fast_half(recipe.device)):
        features = network.features(images.to(memory_format=torch.channels_last))
        logits = network.head(features)
        covers_logits = network.covers(features) if network.covers else None
    loss = masked_loss(logits.float(), allowed, weights, recipe.smoothing)
    if covers_logits is not None:
        loss = loss + recipe.teaching * taught_loss(covers_logits.float(), covers)
    if soft_labels.shape[1]:
        loss = loss + recipe.distilling * taught_loss(logits.float(), soft_labels)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            f"{title}: the loss became {value} at step {step}; lower the learning rate ({recipe.learning_rate:g}), or "
            "look for samples with reflectance far outside 0…10000"
        )
    return value


def _fast_half(device: str) -> bool:
    # Without these instructions bfloat16 is emulated, and slower than float32.
    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


def _approach(average: SegmentationNetwork, network: SegmentationNetwork, keep: float) -> None:
    """Update the moving average of the weights and of the normalisation's statistics."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def masked_loss(
    logits: torch.Tensor, allowed: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.05
) -> torch.Tensor:
    """Compute the weighted cross-entropy of pixels against sets of classes.

    A pixel costs minus the logarithm of the total probability of its allowed classes, and a share of the mean over all
    classes (label smoothing, against overconfidence after training on few samples).

    Args:
        logits: (n, classes, height, width).
        allowed: the same shape, bool; a pixel without an allowed class is void and costs nothing.
        weights: (n, height, width).
        smoothing: the share of the mean over all classes.
    """
    logarithms = torch.log_softmax(logits, dim=1)
    known = allowed.any(dim=1)
    # All classes are allowed for a void pixel: it costs nothing, and no logarithm of 0 arises.
    right = torch.logsumexp(logarithms.masked_fill(~(allowed | ~known[:, None]), -1e4), dim=1)
    costs = -(1 - smoothing) * right - smoothing * logarithms.mean(dim=1)
    effective = weights * known
    return (costs * effective).sum() / effective.sum().clamp(min=1)


def taught_loss(logits: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Compute the mean cross-entropy of the network's predictions against a teacher's probabilities.

    Args:
        logits: (n, covers or classes, height, width).
        taught: the same shape; a pixel without the teacher's probabilities holds zeros, and costs nothing.
    """
    costs = -(torch.log_softmax(logits, dim=1) * taught).sum()
    return costs / taught.sum().clamp(min=1)


def _generator(recipe: Recipe, step: int) -> np.random.Generator:
    return np.random.default_rng((recipe.seed, step))


def _batch(maker: TileMaker, recipe: Recipe, classes: int, step: int) -> Batch:
    """Draw the tiles of a step: reflectance (batch, 10, side, side) float32, allowed, weights, covers, soft labels."""
    maker = maker.drawing_from(_generator(recipe, step))
    tiles = [maker.tile() for _ in range(recipe.batch)]
    sets = np.stack([tile.allowed for tile in tiles])
    allowed = np.stack([(sets >> index) & 1 for index in range(classes)], axis=1).astype(bool)
    parts = [(tile.reflectance, tile.weights, tile.covers, tile.soft_labels) for tile in tiles]
    images, weights, covers, soft_labels = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    return images, torch.from_numpy(allowed), weights, covers, soft_labels


def _statistics(maker: TileMaker, tiles: int = 64) -> tuple[list[float], list[float]]:
    """Compute mean and standard deviation of every band's logarithm over augmented tiles, without no data."""
    images = np.stack([maker.tile().reflectance for _ in range(tiles)])
    observed = images.max(axis=1) > 0
    logarithms = np.log(np.moveaxis(images, 1, 0)[:, observed] + LOG_SCALE)
    return [float(value) for value in logarithms.mean(axis=1)], [float(value) for value in logarithms.std(axis=1)]


def validation_accuracy(network: SegmentationNetwork, samples: Sequence[Sample], classes: Sequence[int]) -> float:
    """Compute the mean over samples of the share of correct labelled pixels; NaN where no pixel is labelled."""
    table = np.array([VOID, *classes], np.uint16)
    shares = []
    for sample in samples:
        labelled = sample.codes != VOID
        if labelled.any():
            right = table[predict_any(network, as_typical_surface(sample))] == sample.codes
            shares.append(float(right[labelled].mean()))
    return float(np.mean(shares)) if shares else math.nan


def predict_any(network: SegmentationNetwork, reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Predict the class index 1…K, (height, width) uint8, of one image of any size, (10, height, width)."""
    height, width = reflectance.shape[1:]
    return predict(network, padded(reflectance, network.architecture.stride)[None])[0, :height, :width]
