"""The model repository in Triton's layout, read by every engine.

    <root>/<name>/config.pbtxt            configuration of Triton, generated with the model
    <root>/<name>/<version>/model.onnx    the graph: uint16 reflectance in, class index and confidence out
    <root>/<name>/<version>/model.json    input and classes of the version (`ModelDescription`)
    <root>/<name>/<version>/card.md       the model card, for people

The graph's contract:

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
    """A class of a model: its CORINE level-3 code, and the level that its ground truth supports.

    `supported_level` 2 means that the code stands for its whole level-2 class: ground truth of "forest" cannot separate
    311 from 312.
    """

    code: int
    supported_level: int
    meaning: str


@dataclass(frozen=True)
class ModelDescription:
    """Input and classes of one model version.

    Attributes:
        model: name and version.
        bands: bands of the input in order.
        level: processing level of the input, "L1C" or "L2A".
        resolution_m: pixel size of the input in metres.
        stride: total down-sampling of the network in pixels.
        receptive_field: side in pixels of the square that one output depends on.
        halo: margin in pixels to read around a patch, at least half the receptive field and a multiple of the stride.
        classes: the classes in the order of the class index.
        sha256: SHA-256 of `model.onnx`.
        core: side in pixels of a window without its halo, as large as memory allows, because halos cost time.
        training_range: range of the reflectance in training; a version may lack it.
        training_set: identity of the training set; a version may lack it.
        architecture: name of the kind of network, for people.
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
            raise ModelError(f"{self.model}: a model needs 1 to 254 classes, not {len(self.classes)}")
        for entry in self.classes:
            try:
                class_of(entry.code)
            except UnknownClassError as error:
                raise ModelError(f"{self.model}: {error}; a model may only have CORINE level-3 classes") from error

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
        """Return the text of `model.json`."""
        content = asdict(self) | {"model": self.model.name, "version": self.model.version}
        content["training_range"] = self.training_range.to_json() if self.training_range else None
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of `to_json`.

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
        """Return the folder of a version, whether it exists or not."""
        folders = [root / model.name / str(model.version) for root in self._roots]
        return next((folder for folder in folders if (folder / "model.json").is_file()), folders[0])

    def register(self, source: Path) -> ModelVersion:
        """Copy a version's folder into the repository as a whole; copying the same content again changes nothing.

        Args:
            source: a folder with `model.json` and the `model.onnx` that it describes; other files in it are copied too,
                and so is the `config.pbtxt` next to it if the repository has none for the model.

        Raises:
            ModelError: the folder is not a complete version, or the repository holds another version of that number.
        """
        path = source / "model.json"
        if not path.is_file():
            raise ModelError(f"{source} is not a model version: model.json is missing")
        description = ModelDescription.from_json(path.read_text(encoding="utf-8"))
        model = description.model
        graph = source / "model.onnx"
        if not graph.is_file() or _sha256(graph, graph.stat().st_mtime_ns) != description.sha256:
            raise ModelError(f"{model}: {graph} is missing, or is not the one that model.json describes")
        if model in self.versions():
            if self.describe(model) != description:
                raise ModelError(
                    f"the repository holds another {model} ({self.folder(model)}): a version never changes, so "
                    "give this one a new number"
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
        """Return the path of a version's `model.onnx` after comparing its checksum with the description.

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
    """Return the repository in the package."""
    return ModelRepository(Path(str(resources.files("earthsignature_assets.models") / "shipped")))


def superseded_versions(repository: ModelRepository) -> frozenset[ModelVersion]:
    """Return the versions in the package that have a newer one of their name there.

    A new deployment starts with the newest version only; older ones take part once they are registered.
    """
    shipped = shipped_repository()
    versions = shipped.versions()
    newest = {model.name: model for model in versions}  # versions ascend: the last one remains
    return frozenset(
        model for model in versions if model != newest[model.name] and repository.folder(model) == shipped.folder(model)
    )
