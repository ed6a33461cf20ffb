"""A version in int8: its speed next to float32, and the share of held-out pixels that keep their class."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.inference import MODEL, kpx_per_core, minutes, throughput
from benchmarks.row import Options, Row, Target
from benchmarks.tiles import PART, part_of_tile

_DATA = Path("../shared/data")
_VERSION = 2
_FLOAT32 = f"{MODEL} in float32"
_FEWEST_PERCENT = 99.0
_FIGURES = "agreement.json"


def _folder(options: Options) -> Path:
    """Return the folder of the int8 version, named by the graph that it was made from."""
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import shipped_repository

    return options.folder / f"int8-of-{shipped_repository().describe(ModelVersion.parse(MODEL)).sha256[:12]}"


def _prepare(options: Options) -> None:
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import shipped_repository
    from earthsignature_assets.training.quantisation import quantise_version
    from recipes.corine_unet.training_set import training_set

    part_of_tile(options)
    folder = _folder(options)
    if (folder / _FIGURES).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    cut = training_set(_DATA, folder / "training_set")
    made = quantise_version(shipped_repository(), ModelVersion.parse(MODEL), _VERSION, cut, folder)
    (folder / _FIGURES).write_text(json.dumps(made.agreement), encoding="utf-8")


@contextmanager
def _int8(options: Options) -> Iterator[Callable[[], float]]:
    from earthsignature_assets.inference.embedded import EmbeddedEngine
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import ModelRepository

    model = ModelVersion(ModelVersion.parse(MODEL).name, _VERSION)
    engine, patches = EmbeddedEngine(ModelRepository(_folder(options)), model), part_of_tile(options)
    yield lambda: kpx_per_core(minutes(options, patches, engine) * 60 / PART**2)


@contextmanager
def _agreement(options: Options) -> Iterator[Callable[[], float]]:
    agreement = json.loads((_folder(options) / _FIGURES).read_text(encoding="utf-8"))
    yield lambda: 100 * float(agreement["test"])


def _without_data() -> str | None:
    if not importlib.util.find_spec("onnx"):
        return "onnx is not installed (pip install 'earthsignature[quantise]')"
    return None if _DATA.is_dir() else f"{_DATA} is absent: it holds the patches that give the ranges"


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
        title="pixels of the held-out half of EuroSAT and the Hațeg scene that keep their class in int8",
        unit="%",
        own=_agreement,
        target=Target(f"≥ {_FEWEST_PERCENT:g} %", lambda value, _: value >= _FEWEST_PERCENT),
        prepare=_prepare,
        repetitions=1,
        warm_up=False,
        higher_is_better=True,
        needs={"own": _without_data},
    ),
)
