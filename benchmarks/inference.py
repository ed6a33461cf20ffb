"""Inference: from patches to classes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.imagery import write_patch_store
from benchmarks.row import Options, Row, Target

if TYPE_CHECKING:
    from earthsignature_assets.imagery.patch_store import PatchStore
    from earthsignature_assets.inference.embedded import EmbeddedEngine

_MODEL = "corine-unet-v1"
_TILE_PIXELS = 10_980**2
_BLOCK = 1024
_MOST_MINUTES = 2.0


def _store_path(options: Options) -> Path:
    return options.folder / "segmentation-patches.zarr"


def _prepare(options: Options) -> None:
    write_patch_store(options, _store_path(options))


def _open(options: Options) -> "tuple[EmbeddedEngine, PatchStore]":
    from earthsignature_assets.imagery.patch_store import PatchStore
    from earthsignature_assets.inference.embedded import EmbeddedEngine
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import shipped_repository

    engine = EmbeddedEngine(shipped_repository(), ModelVersion.parse(_MODEL))
    return engine, PatchStore(_store_path(options))


def _minutes_a_tile(seconds: float, pixels: int) -> float:
    return seconds / 60 * _TILE_PIXELS / pixels


@contextmanager
def _segmentation(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.inference.segmentation import segment_scene

    engine, patches = _open(options)

    def work() -> float:
        summary = segment_scene(patches, engine, options.folder / "segmentation.zarr")
        return _minutes_a_tile(summary.seconds, summary.valid_pixels)

    yield work


@contextmanager
def _bare_engine(options: Options) -> Iterator[Callable[[], float]]:
    """The engine alone on blocks without halo: nothing read, masked or written while the clock runs."""
    engine, patches = _open(options)
    height, width = patches.grid.shape
    stride = engine.description.stride
    block = min(_BLOCK, height // stride * stride, width // stride * stride)

    def work() -> float:
        seconds, pixels = 0.0, 0
        for row in range(0, height - block + 1, block):
            for column in range(0, width - block + 1, block):
                reflectance = patches.reflectance(slice(row, row + block), slice(column, column + block))[None]
                started = time.perf_counter()
                engine.segment(reflectance)
                seconds += time.perf_counter() - started
                pixels += block * block
        return _minutes_a_tile(seconds, pixels)

    yield work


ROWS = (
    Row(
        name="segmentation",
        title=f"patches of a scene of {{size}}² px to classes with {_MODEL}: read, halo, engine, write",
        unit="min/tile (10980² px, extrapolated from the valid pixels)",
        own=_segmentation,
        peers={f"bare engine, {_BLOCK}² blocks, no halo": _bare_engine},
        target=Target(f"≤ {_MOST_MINUTES:g} min", lambda value, _: value <= _MOST_MINUTES),
        prepare=_prepare,
        repetitions=3,
    ),
)
