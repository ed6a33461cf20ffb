"""The model repository: Triton's own layout, read by every engine.

    <root>/<name>/config.pbtxt            what Triton serves (generated with the model)
    <root>/<name>/<version>/model.onnx    the graph: uint16 reflectance in, class index and confidence out
    <root>/<name>/<version>/model.json    what the version needs and what it can tell (`ModelDescription`)
    <root>/<name>/<version>/card.md       the model card, for people

The graph's contract, all of it:

    input   reflectance   uint16 (n, bands, height, width)   surface reflectance × 10000, 0 = no data
    output  class_index   uint8  (n, height, width)          k in 1…K, the k-th of the description's classes
    output  confidence    uint8  (n, height, width)          probability of that class in percent, 100/K…100
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import InvalidKeyError, ModelError, UnknownClassError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.input_range import InputRange
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.system.atomic import whole_folder, write_whole


@dataclass(frozen=True)
class PredictedClass:
    """One class that a model tells: its CORINE level-3 code, and the level that its ground truth supports.

    `supported_level` 2 means that the code stands for its whole level-2 class: ground truth that says "forest"
    cannot tell 311 from 312.
    """

    code: int
    supported_level: int
    meaning: str


@dataclass(frozen=True)
class ModelDescription:
    """What one model version needs and what it can tell.

    `stride` is the network's total down-sampling in pixels, `receptive_field` the side in pixels of the square that
    one output depends on, `halo` the margin in pixels read around a patch (at least half the receptive field, a
    multiple of the stride), `core` the side in pixels of what a window answers for, without its halo: as large as
    memory allows, because halos cost. `sha256` is that of `model.onnx`. `training_range` is the range of the
    reflectance that training saw, and `training_set` the identity of the training set; a version may lack them.
    `architecture` is what people call the kind of network.
    """

    model: ModelVersion
    bands: tuple[str, ...]
    level: str
    resolution_m: float
    stride: int
    receptive_field: int
    halo: int
    classes: tuple[PredictedClass, ...]
    sha256: str
    core: int = 896
    training_range: InputRange | None = None
    training_set: str = ""
    architecture: str = "unknown"

    def __post_init__(self) -> None:
        if self.stride < 1 or self.halo % self.stride or self.halo * 2 < self.receptive_field - 1:
            raise ModelError(
                f"{self.model}: halo {self.halo} must be a multiple of the stride {self.stride} and at least "
                f"half the receptive field {self.receptive_field}"
            )
        if self.core < 1 or self.core % self.stride:
            raise ModelError(f"{self.model}: core {self.core} must be a multiple of the stride {self.stride}")
        if self.training_range is not None and len(self.training_range.bands) != len(self.bands):
            raise ModelError(f"{self.model}: training_range needs one range a band, for {len(self.bands)} bands")
        if not 1 <= len(self.classes) <= 254:
            raise ModelError(f"{self.model}: a model tells 1 to 254 classes, not {len(self.classes)}")
        for entry in self.classes:
            try:
                class_of(entry.code)
            except UnknownClassError as error:
                raise ModelError(f"{self.model}: {error}; a model may only tell CORINE level-3 classes") from error

    @property
    def class_codes(self) -> tuple[int, ...]:
        """CORINE level-3 codes in the order of the class index (the first is index 1)."""
        return tuple(entry.code for entry in self.classes)

    @property
    def code_table(self) -> npt.NDArray[np.uint16]:
        """Look-up table from class index to code: (256,) uint16, index 0 is no data."""
        table = np.zeros(256, np.uint16)
        table[1 : len(self.classes) + 1] = self.class_codes
        return table

    def to_json(self) -> str:
        """The text of `model.json`."""
        content = asdict(self) | {"model": self.model.name, "version": self.model.version}
        content["training_range"] = self.training_range.to_json() if self.training_range else None
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: the text lacks a field or holds a value that does not fit.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            return cls(
                model=ModelVersion(content["model"], content["version"]),
                bands=tuple(content["bands"]),
                level=content["level"],
                resolution_m=float(content["resolution_m"]),
                stride=int(content["stride"]),
                receptive_field=int(content["receptive_field"]),
                halo=int(content["halo"]),
                classes=tuple(PredictedClass(**entry) for entry in content["classes"]),
                sha256=content["sha256"],
                core=int(content.get("core", cls.core)),
                training_range=InputRange.from_json(found) if (found := content.get("training_range")) else None,
                training_set=str(content.get("training_set", "")),
                architecture=str(content.get("architecture", cls.architecture)),
            )
        except (ValueError, KeyError, TypeError, InvalidKeyError) as error:
            raise ModelError(f"model.json cannot be read: {error!r}") from error


class ModelRepository:
    """The versions in a repository folder, and in further ones behind it; a version is read where it is found first.

    New versions go to the first folder, `root`. Triton reads one folder, so its deployments have one.
    """

    def __init__(self, root: Path, *further: Path) -> None:
        self.root = root
        self._roots = (root, *further)

    def versions(self) -> list[ModelVersion]:
        """Every version that has a description, in order of name and number."""
        found = set()
        for path in (path for root in self._roots for path in root.glob("*/*/model.json")):
            try:
                found.add(ModelVersion(path.parent.parent.name, int(path.parent.name)))
            except (ValueError, InvalidKeyError):
                continue
        return sorted(found)

    def folder(self, model: ModelVersion) -> Path:
        """The folder of a version, whether it exists or not."""
        folders = [root / model.name / str(model.version) for root in self._roots]
        return next((folder for folder in folders if (folder / "model.json").is_file()), folders[0])

    def register(self, source: Path) -> ModelVersion:
        """Copy a version's folder into the repository, whole and at once; the same content again changes nothing.

        Args:
            source: a folder with `model.json` and the `model.onnx` that it describes; what else is in it comes along,
                and the `config.pbtxt` beside it where the repository has none for the model.

        Raises:
            ModelError: it is no whole version, or another one of that number is there.
        """
        path = source / "model.json"
        if not path.is_file():
            raise ModelError(f"{source} is no model version: model.json is missing")
        description = ModelDescription.from_json(path.read_text(encoding="utf-8"))
        model = description.model
        graph = source / "model.onnx"
        if not graph.is_file() or _sha256(graph, graph.stat().st_mtime_ns) != description.sha256:
            raise ModelError(f"{model}: {graph} is missing, or is not the one that model.json describes")
        if model in self.versions():
            if self.describe(model) != description:
                raise ModelError(
                    f"{model} is in the repository already and is another one ({self.folder(model)}): a version never "
                    "changes, give this one a new number"
                )
            return model
        target = self.root / model.name / str(model.version)
        with whole_folder(target, replace=False) as partial:
            shutil.copytree(source, partial, dirs_exist_ok=True)
        configuration = source.parent / "config.pbtxt"
        if configuration.is_file() and not (target.parent / "config.pbtxt").exists():
            write_whole(target.parent / "config.pbtxt", configuration.read_bytes())
        return model

    def describe(self, model: ModelVersion) -> ModelDescription:
        """Read the description of a version.

        Raises:
            ModelError: the version is absent, or its description does not fit.
        """
        path = self.folder(model) / "model.json"
        if not path.is_file():
            known = ", ".join(map(str, self.versions())) or "none"
            raise ModelError(f"{model} is not in the model repository {self.root} (it holds: {known})")
        description = ModelDescription.from_json(path.read_text(encoding="utf-8"))
        if description.model != model:
            raise ModelError(f"{path} describes {description.model}, expected {model}")
        return description

    def graph(self, model: ModelVersion) -> Path:
        """The path of a version's `model.onnx`, checked against the description's checksum.

        Raises:
            ModelError: the file is absent or damaged.
        """
        description = self.describe(model)
        path = self.folder(model) / "model.onnx"
        if not path.is_file():
            raise ModelError(f"{model}: {path} is missing")
        if _sha256(path, path.stat().st_mtime_ns) != description.sha256:
            raise ModelError(f"{model}: {path} is damaged (its SHA-256 is not the one in model.json)")
        return path


@cache
def _sha256(path: Path, modified_ns: int) -> str:  # noqa: ARG001 - a changed file is another cache entry
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shipped_repository() -> ModelRepository:
    """The repository that comes with the package."""
    return ModelRepository(Path(str(resources.files("earthsignature_assets.models") / "shipped")))


def superseded_versions(repository: ModelRepository) -> frozenset[ModelVersion]:
    """Versions that come with the package and have a newer one of their name there.

    A new deployment begins with the newest alone; who wants an older one beside it registers it.
    """
    shipped = shipped_repository()
    versions = shipped.versions()
    newest = {model.name: model for model in versions}  # in order of number: the last one stands
    return frozenset(
        model for model in versions if model != newest[model.name] and repository.folder(model) == shipped.folder(model)
    )
