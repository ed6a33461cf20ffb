import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import (
    ModelDescription,
    ModelRepository,
    PredictedClass,
    shipped_repository,
)
from earthsignature_assets.sentinel2 import S2_BANDS

V1 = ModelVersion("corine-unet", 1)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    shutil.copytree(shipped_repository().root, tmp_path / "models")
    return ModelRepository(tmp_path / "models")


def description(**changes: Any) -> ModelDescription:
    plain = ModelDescription(
        model=V1,
        bands=S2_BANDS,
        level="L2A",
        resolution_m=10.0,
        stride=8,
        receptive_field=89,
        halo=48,
        classes=(PredictedClass(313, 2, "forest"), PredictedClass(512, 1, "water")),
        sha256="0" * 64,
    )
    return replace(plain, **changes)


def test_a_description_survives_its_text() -> None:
    assert ModelDescription.from_json(description().to_json()) == description()


def test_the_code_table_starts_with_no_data() -> None:
    table = description().code_table
    assert table[:4].tolist() == [0, 313, 512, 0]


@pytest.mark.parametrize(
    "changes", [{"halo": 44}, {"halo": 40}, {"stride": 0}, {"classes": ()}, {"core": 1020}, {"core": 0}]
)
def test_a_description_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="corine-unet-v1"):
        description(**changes)


def test_classes_that_are_not_corine_codes_are_refused_by_name(repository: ModelRepository) -> None:
    path = repository.folder(V1) / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["classes"][2]["code"] = 999
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=r"corine-unet-v1: 999 is not a CORINE level-3 code"):
        repository.describe(V1)


def test_the_shipped_version_is_listed_and_described(repository: ModelRepository) -> None:
    assert V1 in repository.versions()
    assert repository.describe(V1).bands == S2_BANDS


def test_an_absent_version_is_named_with_the_existing_ones(repository: ModelRepository) -> None:
    with pytest.raises(ModelError, match=r"corine-unet-v99 is not in the model repository .* corine-unet-v1"):
        repository.describe(ModelVersion("corine-unet", 99))


def test_a_damaged_graph_is_refused(repository: ModelRepository) -> None:
    path = repository.graph(V1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        repository.graph(V1)


def test_a_missing_graph_is_refused(repository: ModelRepository) -> None:
    repository.graph(V1).unlink()
    with pytest.raises(ModelError, match="is missing"):
        repository.graph(V1)


def test_a_description_in_another_version_s_folder_is_refused(repository: ModelRepository) -> None:
    shutil.copytree(repository.folder(V1), repository.folder(ModelVersion("corine-unet", 77)))
    with pytest.raises(ModelError, match="describes corine-unet-v1, expected corine-unet-v77"):
        repository.describe(ModelVersion("corine-unet", 77))


def test_a_description_that_lacks_a_field_is_refused(repository: ModelRepository) -> None:
    path = repository.folder(V1) / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["stride"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="stride"):
        repository.describe(V1)
