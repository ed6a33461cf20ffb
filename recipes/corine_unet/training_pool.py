"""Parallel trainings, one process each: with one thread a training, the bits do not depend on the number of cores.

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
    """Result of a training; `seconds` is processor time, with that of its teachers."""

    network: SegmentationNetwork
    curve: LearningCurve
    seconds: float


@dataclass(frozen=True, eq=False)
class Training:
    """Arguments of `optimisation.train`, and the teachers whose soft labels of the samples it learns too."""

    title: str
    samples: Sequence[Sample]
    recipe: Recipe
    architecture: NetworkArchitecture
    validation: Sequence[Sample] = ()
    checkpoint: Path | None = None
    teachers: tuple[Trained, ...] = ()


def train_distilled(trainings: Sequence[Training], teachers: int, processes: int, progress: Progress) -> list[Trained]:
    """Train the given number of teachers for each training, with its samples and other seeds, and then the trainings.

    All teachers are trained first, so that no process is idle. Without teachers, and for the errors, see `train_all`.
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
    """Run all trainings, `processes` at a time or in this process if that is one, and return the results in order.

    Raises:
        GroundTruthError: no sample of a training has a labelled pixel.
        TrainingError: a loss is not a number, a checkpoint belongs to another training, or a process was killed.
    """
    if processes == 1:
        return [_run(training, progress) for training in trainings]
    # Spawned processes, because PyTorch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        _shown(progress, context.SimpleQueue()) as messages,
        ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(messages,)) as pool,
    ):
        running = [pool.submit(_run_apart, training) for training in trainings]
        try:
            return [torch.load(io.BytesIO(future.result()), weights_only=False) for future in running]
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process of the training was killed, perhaps for lack of memory; start the training again to resume "
                "from its last epoch"
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


_messages: Any = None  # in a worker process: the queue of its progress


def _begin(messages: Any) -> None:
    global _messages
    _messages = messages
    # The parent may ignore this signal, with which the pool terminates its processes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has been killed, so that the next start resumes from the same files."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _run_apart(training: Training) -> bytes:
    # As bytes, because a tensor that is sent as such lives in shared memory that ends with this process.
    content = io.BytesIO()
    torch.save(_run(training, _RemoteProgress(_messages)), content)
    return content.getvalue()


class _RemoteProgress(Progress):
    """Progress bars that another process shows: every change is sent to it."""

    def __init__(self, messages: Any) -> None:
        super().__init__(disable=True)
        self._messages = messages

    def add_task(self, description: str, *_: Any, **fields: Any) -> TaskID:
        """Add a bar, identified by the process and its number."""
        task = super().add_task(description)
        self._messages.put((multiprocessing.current_process().pid, task, description, fields))
        return task

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a bar."""
        self._messages.put((multiprocessing.current_process().pid, task_id, None, fields))


@contextmanager
def _shown(progress: Progress, messages: Any) -> Iterator[Any]:
    """Show the bars of other processes until the block ends."""

    def listen() -> None:
        tasks: dict[tuple[int, TaskID], TaskID] = {}
        while (message := messages.get()) is not None:
            process, far_task, title, fields = message
            if title is not None:
                tasks[process, far_task] = progress.add_task(title, **fields)
            else:
                progress.update(tasks[process, far_task], **fields)

    listener = Thread(target=listen, name="bars")
    listener.start()
    try:
        yield messages
    finally:
        messages.put(None)
        listener.join()
