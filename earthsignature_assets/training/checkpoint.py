"""The checkpoint of a training run: one file, replaced whole after each epoch; an interrupted run resumes from it.

Needs PyTorch (the extra `train`).
"""

import hashlib
import os
import pickle
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from earthsignature_assets.errors import TrainingError
from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.system.atomic import whole_file
from earthsignature_assets.training.learning_curve import LearningCurve
from earthsignature_assets.training.network import SegmentationNetwork


@dataclass
class TrainingState:
    """State of a run: steps done, losses of the current epoch, the curve, and the best weights so far."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    curve: LearningCurve = field(default_factory=LearningCurve)
    best: dict[str, torch.Tensor] | None = None


class Checkpoint:
    """A file that stores a run, and restores it for the same recipe, architecture and samples only."""

    def __init__(self, path: Path | None, plan: object, samples: Sequence[Sample]) -> None:
        """Store nothing where `path` is None; the weights depend on `repr(plan)` and the samples alone."""
        self._path = path
        self._training = _fingerprint(plan, samples) if path else ""

    def resume(
        self,
        network: SegmentationNetwork,
        average: SegmentationNetwork,
        optimiser: torch.optim.Optimizer,
        schedule: Any,
    ) -> TrainingState:
        """Restore a run from the file, or return the initial state where there is no file.

        Raises:
            TrainingError: the file belongs to another training, or cannot be read.
        """
        if self._path is None or not self._path.exists():
            return TrainingState()
        try:
            content = torch.load(self._path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{self._path} is not a checkpoint: {error}; remove it to start again") from error
        if content.get("training") != self._training:
            raise TrainingError(
                f"{self._path} belongs to a training with another recipe, network or samples: remove it to start again"
            )
        network.load_state_dict(content["network"])
        average.load_state_dict(content["average"])
        optimiser.load_state_dict(content["optimiser"])
        schedule.load_state_dict(content["schedule"])
        curve = LearningCurve(content["curve_losses"], content["curve_accuracies"])
        return TrainingState(content["step"], [], curve, content["best"])

    def save(
        self,
        state: TrainingState,
        network: SegmentationNetwork,
        average: SegmentationNetwork,
        optimiser: torch.optim.Optimizer,
        schedule: Any,
        *,
        best: bool,
    ) -> None:
        """Replace the file at the end of an epoch; `best` marks the average of the weights as the best so far."""
        if best:
            state.best = deepcopy(average.state_dict())
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "training": self._training,
            "step": state.step,
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "curve_losses": state.curve.losses,
            "curve_accuracies": state.curve.accuracies,
            "best": state.best,
        }
        with whole_file(self._path) as partial, partial.open("wb") as file:
            torch.save(content, file)
            os.fsync(file.fileno())


def _fingerprint(plan: object, samples: Sequence[Sample]) -> str:
    """Compute a digest of everything that the weights depend on, except the machine."""
    digest = hashlib.sha256(repr(plan).encode())
    for sample in samples:
        digest.update(repr((sample.name, sample.level, sorted(sample.also.items()))).encode())
        for array in (sample.reflectance, sample.codes, sample.weak, sample.covers, sample.soft_labels):
            digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()
