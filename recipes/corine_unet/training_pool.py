"""Several trainings side by side, one process each: one thread a training gives the same bits on any number of cores.

Needs PyTorch (the extra `train`).
"""

import io
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from rich.progress import Progress, TaskID

from earthsignature_assets.errors import TrainingError
from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.training.learning_curve import LearningCurve
from earthsignature_assets.training.network import NetworkArchitecture, SegmentationNetwork
from earthsignature_assets.training.optimisation import Recipe, train
from recipes.corine_unet.data import CLASS_CODES
from recipes.corine_unet.distillation import soft_labels


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a training; `seconds` of processor time, with those of its teachers."""

    network: SegmentationNetwork
    curve: LearningCurve
    seconds: float


@dataclass(frozen=True, eq=False)
class Training:
    """One training, as `optimisation.train` takes it; of its samples it learns besides what its teachers tell."""

    title: str
    samples: Sequence[Sample]
    recipe: Recipe
    architecture: NetworkArchitecture
    validation: Sequence[Sample] = ()
    checkpoint: Path | None = None
    teachers: tuple[Trained, ...] = ()


def train_distilled(trainings: Sequence[Training], teachers: int, processes: int, progress: Progress) -> list[Trained]:
    """Train so many teachers for each training, on its samples and with other seeds; then what learns from them.

    All teachers come first, so that no process waits while another trains one. With 0 teachers, and for the errors, see
    `train_all`.
    """
    apart = [_teacher(training, number, teachers) for training in trainings for number in range(1, teachers + 1)]
    networks = iter(train_all(apart, processes, progress))
    taught = [replace(training, teachers=tuple(islice(networks, teachers))) for training in trainings]
    return train_all(taught, processes, progress)


def _teacher(training: Training, number: int, of: int) -> Training:
    file = training.checkpoint
    return replace(
        training,
        title=f"{training.title}, teacher {number} of {of}",
        recipe=replace(training.recipe, seed=training.recipe.seed + number),
        validation=training.validation if training.recipe.patience else (),
        checkpoint=file and file.with_name(f"{file.stem}-teacher-{number}{file.suffix}"),
    )


def train_all(trainings: Sequence[Training], processes: int, progress: Progress) -> list[Trained]:
    """Run all trainings, `processes` at once and in this process where that is one; the results in their order.

    Raises:
        GroundTruthError: no sample of a training has a labelled pixel.
        TrainingError: a loss is not a number, a checkpoint is of another training, or a process was ended.
    """
    if processes == 1:
        return [_run(training, progress) for training in trainings]
    # Fresh processes: PyTorch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        _shown(progress, context.SimpleQueue()) as told,
        ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(told,)) as pool,
    ):
        running = [pool.submit(_run_apart, training) for training in trainings]
        try:
            return [torch.load(io.BytesIO(future.result()), weights_only=False) for future in running]
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process of the training was ended, perhaps for want of memory; start it again, and it goes on from "
                "its last epoch"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _run(training: Training, progress: Progress) -> Trained:
    start, samples = time.process_time(), training.samples
    if training.teachers:
        networks = [teacher.network for teacher in training.teachers]
        samples = [replace(sample, soft_labels=soft_labels(networks, sample)) for sample in samples]
    network, curve = train(
        samples,
        training.recipe,
        training.architecture,
        progress,
        training.title,
        classes=CLASS_CODES,
        validation=training.validation,
        checkpoint=training.checkpoint,
    )
    seconds = time.process_time() - start + sum(teacher.seconds for teacher in training.teachers)
    return Trained(network, curve, seconds)


_told: Any = None  # of a process of its own: where it tells how far it is


def _begin(told: Any) -> None:
    global _told
    _told = told
    # Whoever started all this may ignore it, and the pool ends its processes by it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it has been killed: the next start goes on from the same files."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _run_apart(training: Training) -> bytes:
    # As bytes: a tensor that is sent as such lives in memory that ends with this process.
    content = io.BytesIO()
    torch.save(_run(training, _FarProgress(_told)), content)
    return content.getvalue()


class _FarProgress(Progress):
    """Bars that another process shows: what happens to them is told."""

    def __init__(self, told: Any) -> None:
        super().__init__(disable=True)
        self._told = told

    def add_task(self, description: str, *_: Any, **fields: Any) -> TaskID:
        """Add a bar; its name is the number of its process and its own."""
        task = super().add_task(description)
        self._told.put((multiprocessing.current_process().pid, task, description, fields))
        return task

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a bar."""
        self._told.put((multiprocessing.current_process().pid, task_id, None, fields))


@contextmanager
def _shown(progress: Progress, told: Any) -> Iterator[Any]:
    """Show what other processes tell of their bars, until the block ends."""

    def listen() -> None:
        tasks: dict[tuple[int, TaskID], TaskID] = {}
        while (heard := told.get()) is not None:
            process, far_task, title, fields = heard
            if title is not None:
                tasks[process, far_task] = progress.add_task(title, **fields)
            else:
                progress.update(tasks[process, far_task], **fields)

    listener = Thread(target=listen, name="bars")
    listener.start()
    try:
        yield told
    finally:
        told.put(None)
        listener.join()
