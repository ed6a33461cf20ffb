import json
from collections.abc import Callable
from typing import Any

import pystac
from stac_model.schema import MLModelProperties

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.mlm_item import mlm_item
from earthsignature_assets.models.repository import shipped_repository

MODEL = ModelVersion("corine-unet", 1)


def test_it_is_a_stac_item_with_a_model(stac_faults: Callable[[dict[str, Any]], list[str]]) -> None:
    repository = shipped_repository()
    description = repository.describe(MODEL)
    item = json.loads(json.dumps(mlm_item(description, repository.graph(MODEL))))
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
