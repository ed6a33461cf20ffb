from pathlib import Path

import pytest

from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.retirement import RetiredModels

FIRST, SECOND = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 2)


def test_retirements_are_kept_with_who_when_and_why(tmp_path: Path) -> None:
    RetiredModels(tmp_path / "new" / "retired.json").retire(FIRST, "Ada", "superseded")
    retired = RetiredModels(tmp_path / "new" / "retired.json")
    retired.retire(SECOND, "Ada", "too slow")
    retired.retire(FIRST, "Bob", "again")
    assert {model: (one.who, one.why) for model, one in retired.all().items()} == {
        FIRST: ("Ada", "superseded"),
        SECOND: ("Ada", "too slow"),
    }
    assert retired.all()[FIRST].retired_at.utcoffset() is not None
    retired.reinstate(FIRST)
    retired.reinstate(FIRST)
    assert list(retired.all()) == [SECOND]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["retired.json"]


@pytest.mark.parametrize("content", ["", "{}x", '[{"model": "a|b"}]', '[{"model": "corine-unet-v1"}]'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "retired.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"retired\.json cannot be read"):
        RetiredModels(path).all()
