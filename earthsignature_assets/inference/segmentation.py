"""Segment a scene: windows with halo through an engine, only where there is something to see.

Reader, engine and writer overlap: the next row of windows is read while the engine works, and results are
compressed behind it. Memory is bounded by two rows of windows, not by the tile.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import ModelError
from earthsignature_assets.imagery.patch_store import PatchStore
from earthsignature_assets.inference.engine import Engine
from earthsignature_assets.inference.segmentation_store import create_segmentation_store
from earthsignature_assets.inference.tiling import Span, pad, spans

CORE_PIXELS = 1024

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SegmentationSummary:
    """What `segment_scene` did; areas and confidence are of valid pixels only."""

    valid_pixels: int
    windows: int
    windows_skipped: int
    mean_confidence_percent: float
    pixels_by_code: dict[int, int]
    seconds: float


@dataclass(frozen=True)
class _Strip:
    """A row of windows as read: reflectance with halo, and where nothing was observed in the core rows."""

    rows: Span
    reflectance: npt.NDArray[np.uint16] | None
    first_column: int
    no_data: npt.NDArray[np.bool_]


def segment_scene(
    patches: PatchStore,
    engine: Engine,
    path: Path,
    core: int = CORE_PIXELS,
    progress: Progress | None = None,
) -> SegmentationSummary:
    """Segment every valid pixel of a scene and write the segmentation store.

    A scene without a valid pixel gives a valid, empty segmentation.

    Args:
        patches: the scene's patches.
        engine: the model version.
        path: where the segmentation shall be.
        core: side of a window's core in pixels, a multiple of the model's stride.
        progress: called with the windows done and the windows in all.

    Raises:
        ModelError: the model does not fit the patches.
        EngineUnavailableError: the engine does not answer.
    """
    started = time.monotonic()
    description = engine.description
    if description.bands != patches.bands:
        raise ModelError(f"{description.model} takes {description.bands}, the patches hold {patches.bands}")
    height, width = patches.grid.shape
    all_rows = list(spans(height, core, description.halo, description.stride))
    all_columns = list(spans(width, core, description.halo, description.stride))
    table = description.code_table
    counts = np.zeros(256, np.int64)
    confidence_sum = windows = skipped = 0
    with (
        create_segmentation_store(path, patches.grid.shape) as writer,
        ThreadPoolExecutor(1, "reader") as reader,
        ThreadPoolExecutor(1, "writer") as writer_pool,
    ):
        next_strip = reader.submit(_read_strip, patches, all_rows[0], all_columns)
        written: list[Future[None]] = []
        for index, rows in enumerate(all_rows):
            strip = next_strip.result()
            if index + 1 < len(all_rows):
                next_strip = reader.submit(_read_strip, patches, all_rows[index + 1], all_columns)
            for columns in all_columns:
                windows += 1
                no_data = strip.no_data[:, columns.core]
                if strip.reflectance is None or no_data.all():
                    skipped += 1
                    continue
                offset = columns.read_start - strip.first_column
                read = strip.reflectance[:, :, offset : offset + columns.read_stop - columns.read_start]
                answer = engine.segment(np.ascontiguousarray(read)[np.newaxis])
                here = (0, rows.core_in_read, columns.core_in_read)
                class_index = np.where(no_data, 0, answer.class_index[here]).astype(np.uint8)
                confidence = np.where(no_data, 0, answer.confidence[here]).astype(np.uint8)
                counts += np.bincount(class_index.ravel(), minlength=256)
                confidence_sum += int(confidence.sum(dtype=np.int64))
                written.append(writer_pool.submit(writer.write, rows.core, columns.core, class_index, confidence))
                if progress:
                    progress(windows, len(all_rows) * len(all_columns))
            for future in written:
                future.result()
            written.clear()
    valid = int(counts[1:].sum())
    return SegmentationSummary(
        valid_pixels=valid,
        windows=windows,
        windows_skipped=skipped,
        mean_confidence_percent=confidence_sum / valid if valid else 0.0,
        pixels_by_code={int(table[k]): int(counts[k]) for k in range(1, 256) if counts[k]},
        seconds=time.monotonic() - started,
    )


def _read_strip(patches: PatchStore, rows: Span, all_columns: list[Span]) -> _Strip:
    """Read one row of windows, from the first to the last column that has a valid pixel."""
    height, width = patches.grid.shape
    no_data = patches.no_data(rows.core)
    seen = [columns for columns in all_columns if not no_data[:, columns.core].all()]
    if not seen:
        return _Strip(rows, None, 0, no_data)
    whole = Span(seen[0].start, seen[-1].stop, seen[0].read_start, seen[-1].read_stop)
    reflectance = patches.reflectance(rows.inside(height), whole.inside(width))
    padded = pad(reflectance, rows.padding(height), whole.padding(width))
    return _Strip(rows, padded, whole.read_start, no_data)
