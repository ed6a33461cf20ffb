"""A version in int8: its pace beside float32, and how many held-out pixels keep their class."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.inference import MODEL, kpx_per_core, minutes, throughput
from benchmarks.row import Options, Row, Target
from benchmarks.tiles import PART, part_of_tile

_DATA = Path("../shared/data")
_VERSION = 2
_FLOAT32 = f"{MODEL} in float32"
_FEWEST_PERCENT = 99.0


def _folder(options: Options) -> Path:
    """Where the version in int8 is, by the graph that it was made of."""
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import shipped_repository

    return options.folder / f"int8-of-{shipped_repository().describe(ModelVersion.parse(MODEL)).sha256[:12]}"


def _prepare(options: Options) -> None:
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import shipped_repository
    from earthsignature_assets.training.quantisation import quantise_version

    part_of_tile(options)
    folder = _folder(options)
    if (folder / "figures.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    made = quantise_version(shipped_repository(), ModelVersion.parse(MODEL), _VERSION, _DATA, folder)
    figures = asdict(made) | {"model": str(made.model)}
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


@contextmanager
def _int8(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.inference.embedded import EmbeddedEngine
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import ModelRepository

    model = ModelVersion(ModelVersion.parse(MODEL).name, _VERSION)
    engine, patches = EmbeddedEngine(ModelRepository(_folder(options)), model), part_of_tile(options)
    yield lambda: kpx_per_core(minutes(options, patches, engine) * 60 / PART**2)


def _percent(options: Options, figure: str) -> float:
    figures = json.loads((_folder(options) / "figures.json").read_text(encoding="utf-8"))
    return 100 * float(figures[figure])


@contextmanager
def _on_hateg(options: Options) -> Iterator[Callable[[], float]]:
    yield lambda: _percent(options, "hateg_agreement")


@contextmanager
def _on_eurosat(options: Options) -> Iterator[Callable[[], float]]:
    yield lambda: _percent(options, "eurosat_agreement")


def _without_data() -> str | None:
    if not importlib.util.find_spec("onnx"):
        return "onnx is not installed (pip install 'earthsignature[quantise]')"
    return None if _DATA.is_dir() else f"{_DATA} is not there: it holds the patches that give the ranges"


ROWS = (
    Row(
        name="int8",
        title=f"{PART}² px of patches to classes with {MODEL} in int8, pixels of the scene a second and core",
        unit="kpx/s per core",
        own=_int8,
        peers={_FLOAT32: throughput},
        target=Target("faster than float32", lambda value, peers: value > peers[_FLOAT32]),
        prepare=_prepare,
        repetitions=3,
        higher_is_better=True,
        needs={"own": _without_data},
    ),
    Row(
        name="int8_agreement",
        title="held-out pixels that keep their class in int8: the Hațeg scene's eastern half, and 100 EuroSAT patches",
        unit="%",
        own=_on_hateg,
        peers={"EuroSAT": _on_eurosat},
        target=Target(f"≥ {_FEWEST_PERCENT:g} %", lambda value, _: value >= _FEWEST_PERCENT),
        prepare=_prepare,
        repetitions=1,
        warm_up=False,
        higher_is_better=True,
        needs={"own": _without_data},
    ),
)
