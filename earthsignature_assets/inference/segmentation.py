"""Segment a scene: send its windows with valid pixels, and their halos, through an engine.

Reading, inference and writing overlap. Memory is bounded by the pending windows and two rows of patches, not by the
tile.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.inference.engine import Engine, Segments
from earthsignature_assets.inference.segmentation_store import SegmentationWriter, create_segmentation_store
from earthsignature_assets.inference.tiling import Window, valid_windows
from earthsignature_assets.inference.window_reader import WindowReader
from earthsignature_assets.models.repository import ModelDescription

Progress = Callable[[int, int], None]

_READ_AHEAD = 1


@dataclass(frozen=True)
class SegmentationSummary:
    """The result of `segment_scene`; counts by class and confidence are of valid pixels only.

    `pixels_sent` counts the engine's input, halos included.
    """

    valid_pixels: int
    pixels_sent: int
    windows: int
    windows_skipped: int
    mean_confidence_percent: float
    pixels_by_code: dict[int, int]
    seconds: float


def segment_scene(
    patches: PatchStore,
    engine: Engine,
    path: Path,
    core: int | None = None,
    progress: Progress | None = None,
) -> SegmentationSummary:
    """Segment every valid pixel of a scene and write the segmentation store.

    A scene without a valid pixel yields a valid, empty segmentation.

    Args:
        patches: the scene's patches.
        engine: the model version.
        path: path of the segmentation.
        core: side of a window's core in pixels, a multiple of the model's stride; by default the model's own.
        progress: called with the number of windows done and the total.

    Raises:
        ModelError: the model does not fit the patches, or its output contradicts its description.
        EngineUnavailableError: the engine does not respond.
        StoreUnavailableError: the segmentation cannot be written.
    """
    started = time.monotonic()
    model = engine.description
    check_fit(patches, model)
    core = core or model.core
    height, width = patches.grid.shape
    windows = -(-height // core) * -(-width // core)
    reading = WindowReader(patches, core, model.halo)
    most_under_way = engine.windows_at_once + _READ_AHEAD
    under_way: deque[tuple[Window, Future[Segments]]] = deque()
    seen = skipped = sent = 0
    with (
        create_segmentation_store(path, patches.grid.shape, core) as writer,
        _pool("reader", 1) as reader,
        _pool("engine", engine.windows_at_once) as workers,
        _pool("writer", 1) as writers,
    ):
        results = _Results(writer, writers)

        def finish(most_left: int) -> None:
            while len(under_way) > most_left:
                window, answer = under_way.popleft()
                results.take(window, answer.result())
            if progress:
                progress(seen - len(under_way), windows)

        for window in valid_windows((height, width), patches.no_data, core, model.halo, model.stride):
            seen += 1
            if window is None:
                skipped += 1
            else:
                sent += window.pixels_read
                read = reader.submit(reading.read, window)
                under_way.append((window, workers.submit(_segment, engine, read)))
            finish(most_under_way - 1)
        finish(0)
        results.flush()
    return SegmentationSummary(
        valid_pixels=results.valid_pixels,
        pixels_sent=sent,
        windows=windows,
        windows_skipped=skipped,
        mean_confidence_percent=results.mean_confidence_percent,
        pixels_by_code=results.pixels_by_code(model),
        seconds=time.monotonic() - started,
    )


def check_fit(patches: PatchStore, model: ModelDescription) -> None:
    """Refuse patches that do not fit the model.

    Raises:
        ModelError: the patches have other bands, or another processing level or resolution.
    """
    for what, needed, there in (
        ("bands", model.bands, patches.bands),
        ("level", model.level, patches.level),
        ("a resolution in metres of", model.resolution_m, patches.grid.resolution_m),
    ):
        if needed != there:
            raise ModelError(
                f"{model.model} takes {what} {needed}, the patches at {patches.path} have {there}: choose another "
                "model, or another provider and materialise `patches` again"
            )


def _segment(engine: Engine, read: Future[npt.NDArray[np.uint16]]) -> Segments:
    return engine.segment(read.result())


class _Results:
    """The engine's output: written to the store in the background, and summed up."""

    def __init__(self, writer: SegmentationWriter, pool: ThreadPoolExecutor) -> None:
        self._writer, self._pool = writer, pool
        self._counts = np.zeros(256, np.int64)
        self._confidence = 0
        self._writing: Future[None] | None = None

    def take(self, window: Window, answer: Segments) -> None:
        here = (0, window.rows.core_in_read, window.columns.core_in_read)
        class_index = np.where(window.no_data, 0, answer.class_index[here]).astype(np.uint8)
        confidence = np.where(window.no_data, 0, answer.confidence[here]).astype(np.uint8)
        self._counts += np.bincount(class_index.ravel(), minlength=256)
        self._confidence += int(confidence.sum(dtype=np.int64))
        self.flush()
        self._writing = self._pool.submit(
            self._writer.write, window.rows.core, window.columns.core, class_index, confidence
        )

    def flush(self) -> None:
        if self._writing:
            self._writing.result()

    @property
    def valid_pixels(self) -> int:
        return int(self._counts[1:].sum())

    @property
    def mean_confidence_percent(self) -> float:
        return self._confidence / self.valid_pixels if self.valid_pixels else 0.0

    def pixels_by_code(self, model: ModelDescription) -> dict[int, int]:
        table = model.code_table
        return {int(table[k]): int(self._counts[k]) for k in range(1, 256) if self._counts[k]}


@contextmanager
def _pool(name: str, threads: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads; at the end, cancel pending work."""
    pool = ThreadPoolExecutor(threads, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
