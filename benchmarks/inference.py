"""Inference: from patches to classes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.heavy_unet import CORE, HALO, heavy_repository
from benchmarks.inference_peers import (
    THREADS,
    blended_sliding_window,
    seconds_a_pixel,
    torch_eager,
    triton_on_processors,
    window_of,
    without_torch,
    without_triton,
)
from benchmarks.row import Options, Row, Target
from benchmarks.tiles import PART, SPARSE_PERCENT, TILE, dense_tile, part_of_tile, sparse_tile
from earthsignature_assets.keys import DEFAULT_MODEL

if TYPE_CHECKING:
    from earthsignature_assets.imagery.patches.patch_store import PatchStore
    from earthsignature_assets.inference.embedded import EmbeddedEngine
    from earthsignature_assets.inference.engine import Engine
    from earthsignature_assets.keys import ModelVersion

MODEL = "corine-unet-v1"
_DEFAULT = str(DEFAULT_MODEL)
_HEAVY = "heavy-unet-v1"
_MOST_MINUTES = 2.0
_MOST_OF_BARE = 1.2
_MOST_OF_EMBEDDED = 1.15
_MOST_OF_DENSE = 0.1
_MOST_MB = 1500.0
_BARE = "bare engine, the same number of pixels"
_EMBEDDED = "embedded engine"
_DENSE = f"dense tile, from {PART}² px"
_PIXELS = TILE * TILE
_HEAVY_PART = 1024
_LONG_PART = 4096


def _model(name: str) -> "ModelVersion":
    from earthsignature_assets.keys import ModelVersion

    return ModelVersion.parse(name)


def _embedded(options: Options, name: str = MODEL) -> "EmbeddedEngine":
    from earthsignature_assets.inference.embedded import EmbeddedEngine
    from earthsignature_assets.models.repository import shipped_repository

    repository = heavy_repository(options) if name == _HEAVY else shipped_repository()
    return EmbeddedEngine(repository, _model(name), THREADS)


def minutes(options: Options, patches: "PatchStore", engine: "Engine") -> float:
    from earthsignature_assets.inference.segmentation import segment_scene

    summary = segment_scene(patches, engine, options.folder / "segmentation.zarr")
    return summary.seconds / 60


def _scaled(minutes: float, side: int = PART) -> float:
    return minutes * _PIXELS / side**2


@contextmanager
def _dense(options: Options) -> Iterator[Callable[[], float]]:
    engine, patches = _embedded(options), dense_tile(options)
    yield lambda: minutes(options, patches, engine)


def _bare_minutes(options: Options, side: int) -> Callable[[], float]:
    """Run the engine alone on windows with halo, for the pixels of a scene: without reading, cutting or writing."""
    engine = _embedded(options)
    model = engine.description
    lengths = [min(model.core, side - start) + 2 * model.halo for start in range(0, side, model.core)]
    window = window_of(part_of_tile(options), lengths[0])
    return lambda: seconds_a_pixel(engine, window, 8) * sum(lengths) ** 2 / 60


@contextmanager
def _bare(options: Options) -> Iterator[Callable[[], float]]:
    yield _bare_minutes(options, TILE)


@contextmanager
def _bare_part(options: Options) -> Iterator[Callable[[], float]]:
    work = _bare_minutes(options, PART)
    yield lambda: _scaled(work())


@contextmanager
def _sparse(options: Options) -> Iterator[Callable[[], float]]:
    engine, patches = _embedded(options), sparse_tile(options)
    yield lambda: minutes(options, patches, engine)


def _part_by(options: Options, name: str) -> Callable[[], float]:
    engine, patches = _embedded(options, name), part_of_tile(options)
    return lambda: _scaled(minutes(options, patches, engine))


@contextmanager
def _dense_part(options: Options) -> Iterator[Callable[[], float]]:
    yield _part_by(options, MODEL)


@contextmanager
def _default_part(options: Options) -> Iterator[Callable[[], float]]:
    yield _part_by(options, _DEFAULT)


@contextmanager
def _triton(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.models.repository import shipped_repository

    patches = part_of_tile(options, _LONG_PART)
    with triton_on_processors(options, shipped_repository(), _model(MODEL)) as engine:
        yield lambda: _scaled(minutes(options, patches, engine), _LONG_PART)


@contextmanager
def _embedded_long_part(options: Options) -> Iterator[Callable[[], float]]:
    engine, patches = _embedded(options), part_of_tile(options, _LONG_PART)
    yield lambda: _scaled(minutes(options, patches, engine), _LONG_PART)


def kpx_per_core(seconds_a_pixel: float) -> float:
    return 1e-3 / seconds_a_pixel / THREADS


@contextmanager
def throughput(options: Options) -> Iterator[Callable[[], float]]:
    """Run the embedded engine in float32 on the part of a tile."""
    engine, patches = _embedded(options), part_of_tile(options)
    yield lambda: kpx_per_core(minutes(options, patches, engine) * 60 / PART**2)


@contextmanager
def _torch(options: Options) -> Iterator[Callable[[], float]]:
    model = _embedded(options).description
    work = torch_eager(part_of_tile(options), model.core, model.halo)
    yield lambda: kpx_per_core(work())


@contextmanager
def _blended(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.models.repository import shipped_repository

    work = blended_sliding_window(shipped_repository(), _model(MODEL), part_of_tile(options))
    yield lambda: kpx_per_core(work())


@contextmanager
def _heavy(options: Options) -> Iterator[Callable[[], float]]:
    engine, patches = _embedded(options, _HEAVY), part_of_tile(options, _HEAVY_PART)
    yield lambda: minutes(options, patches, engine) * _PIXELS / _HEAVY_PART**2


@contextmanager
def _heavy_bare(options: Options) -> Iterator[Callable[[], float]]:
    """Run the engine alone on windows without halo."""
    engine = _embedded(options, _HEAVY)
    window = window_of(part_of_tile(options, _HEAVY_PART), CORE)
    yield lambda: seconds_a_pixel(engine, window, 4) * _PIXELS / 60


def _prepare_tiles(options: Options) -> None:
    dense_tile(options)
    part_of_tile(options)


def _prepare_sparse(options: Options) -> None:
    sparse_tile(options)
    part_of_tile(options)


def _prepare_part(options: Options) -> None:
    part_of_tile(options)


def _prepare_long_part(options: Options) -> None:
    part_of_tile(options, _LONG_PART)


def _prepare_heavy(options: Options) -> None:
    part_of_tile(options, _HEAVY_PART)
    heavy_repository(options)


_FROM_PART = f"min/tile ({TILE}² px, extrapolated from {PART}²)"

ROWS = (
    Row(
        name="segmentation",
        title=f"patches of a full dense tile to classes with {MODEL}: read, halo, engine, write; one run",
        unit=f"min/tile ({TILE}² px)",
        own=_dense,
        peers={_BARE: _bare},
        target=Target(
            f"≤ {_MOST_MINUTES:g} min, ≤ {_MOST_MB:g} MB", lambda value, _: value <= _MOST_MINUTES, most_mb=_MOST_MB
        ),
        prepare=_prepare_tiles,
        repetitions=1,
        warm_up=False,
    ),
    Row(
        name="tile_pipeline",
        title=f"{PART}² px of patches to classes with {MODEL}, against the engine alone on the same pixels and halos",
        unit=_FROM_PART,
        own=_dense_part,
        peers={_BARE: _bare_part},
        target=Target(f"≤ {_MOST_OF_BARE}× bare", lambda value, peers: value <= _MOST_OF_BARE * peers[_BARE]),
        prepare=_prepare_part,
    ),
    Row(
        name="default_version",
        title=f"{PART}² px of patches to classes with {_DEFAULT}, the default, against the smaller {MODEL}",
        unit=_FROM_PART,
        own=_default_part,
        peers={MODEL: _dense_part},
        prepare=_prepare_part,
        repetitions=3,
    ),
    Row(
        name="sparse_tile",
        title=f"the same for a full tile with {SPARSE_PERCENT} % valid pixels, a slanted strip",
        unit=f"min/tile ({TILE}² px)",
        own=_sparse,
        peers={_DENSE: _dense_part},
        target=Target(
            f"≤ {_MOST_OF_DENSE:.0%} of a dense tile", lambda value, peers: value <= _MOST_OF_DENSE * peers[_DENSE]
        ),
        prepare=_prepare_sparse,
        repetitions=3,
    ),
    Row(
        name="triton",
        title=f"{_LONG_PART}² px of patches to classes with {MODEL} on a Triton server for processors, same machine",
        unit=f"min/tile ({TILE}² px, extrapolated from {_LONG_PART}²)",
        own=_triton,
        peers={_EMBEDDED: _embedded_long_part},
        target=Target(
            f"≤ {_MOST_OF_EMBEDDED}× embedded", lambda value, peers: value <= _MOST_OF_EMBEDDED * peers[_EMBEDDED]
        ),
        prepare=_prepare_long_part,
        repetitions=3,
        needs={"own": without_triton},
    ),
    Row(
        name="segmentation_pace",
        title=f"{PART}² px of patches to classes with {MODEL}, pixels of the scene a second and core",
        unit="kpx/s per core",
        own=throughput,
        peers={
            "torch eager, same windows, engine alone": _torch,
            "blended sliding window 512² by half, in memory": _blended,
        },
        prepare=_prepare_part,
        repetitions=3,
        higher_is_better=True,
        needs={"torch eager, same windows, engine alone": without_torch},
    ),
    Row(
        name="heavy_unet",
        title=f"{_HEAVY_PART}² px of patches to classes, U-Net of base 64 with random weights, halo {HALO}; one run",
        unit=f"min/tile ({TILE}² px, extrapolated from {_HEAVY_PART}²)",
        own=_heavy,
        peers={f"bare engine, {CORE}² without halo": _heavy_bare},
        prepare=_prepare_heavy,
        repetitions=1,
        warm_up=False,
    ),
)
