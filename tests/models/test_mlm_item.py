import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pystac
from stac_model.schema import MLModelProperties

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.mlm_item import mlm_item
from earthsignature_assets.models.repository import shipped_repository

MODEL = ModelVersion("corine-unet", 1)


def test_the_item_is_a_stac_item_with_a_model(stac_faults: Callable[[dict[str, Any]], list[str]]) -> None:
    repository = shipped_repository()
    description = repository.describe(MODEL)
    item = json.loads(json.dumps(mlm_item(description, repository.folder(MODEL))))
    assert stac_faults(item) == []
    read = pystac.Item.from_dict(item)
    model = MLModelProperties.model_validate(item["properties"])
    assert model.name == "corine-unet-v1"
    assert model.input[0].bands == list(description.bands)
    # What the schema of mlm 1.6 asks beyond the rules of stac-model, and the core of an item that does it.
    for described in (item["properties"], item["assets"]["model"]):
        assert described["bands"] == [{"name": band} for band in description.bands]
    assert [output.name for output in model.output] == ["class_index", "confidence"]
    assert len(item["properties"]["mlm:output"][0]["classification:classes"]) == len(description.classes)
    assert read.assets["model"].roles == ["mlm:model"]
    assert read.properties["mlm:architecture"] == "U-Net"


def test_the_files_lie_next_to_the_item_with_their_checksums() -> None:
    repository = shipped_repository()
    item = mlm_item(repository.describe(MODEL), repository.folder(MODEL))
    hrefs = {asset["href"] for asset in item["assets"].values()}
    assert hrefs == {"./model.onnx", "./model.json", "./card.md", "./evaluation.json", "./evaluation.png"}
    for asset in item["assets"].values():
        content = (repository.folder(MODEL) / asset["href"]).read_bytes()
        assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"


def test_a_version_without_a_card_has_only_the_graph(tmp_path: Path) -> None:
    description = replace(shipped_repository().describe(MODEL), architecture="HRNet")
    item = mlm_item(description, tmp_path)
    assert list(item["assets"]) == ["model"]
    assert item["properties"]["mlm:architecture"] == "HRNet"
