import json
from pathlib import Path

import pytest

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.label_scheme import Statement, label_scheme, label_text, shipped_schemes
from earthsignature_assets.nomenclature import CODES
from recipes.corine_unet.teacher import COVERS


@pytest.mark.parametrize("name", shipped_schemes())
def test_every_shipped_scheme_can_be_read_and_names_its_source(name: str) -> None:
    scheme = label_scheme(name)
    assert set(scheme.codes) <= set(CODES)
    for label, statement in scheme.statements.items():
        assert statement is not None or scheme.notes[label], f"{label}: void without a reason"


def test_the_schemes_of_rasters_hold_what_their_producers_write() -> None:
    assert [label_scheme("corine_raster").statement(str(number)) for number in range(1, 45)] == [
        Statement(code) for code in CODES
    ]
    assert set(label_scheme("dynamic_world").statements) == {str(index) for index in range(len(COVERS))}
    assert set(label_scheme("worldcover").statements) == {
        str(code) for code in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
    }


def test_a_label_confirms_only_its_level() -> None:
    forest = label_scheme("worldcover").statement("10")
    assert forest is not None
    assert forest.name == "31x"
    assert all(forest.agrees(code) for code in (311, 312, 313))
    assert not forest.agrees(321)
    grass = label_scheme("worldcover").statement("30")
    assert grass is not None
    assert grass.name == "23x or 32x"
    assert [grass.agrees(code) for code in (231, 321, 324, 211)] == [True, True, True, False]


def test_a_finer_statement_refines_a_coarser_one() -> None:
    broad, forest, grass = Statement(311), Statement(313, 2), Statement(231, 2, 321)
    assert broad.refines(forest)
    assert not forest.refines(broad)
    assert Statement(321).refines(grass)
    assert not grass.refines(Statement(321))
    assert not Statement(211).refines(forest)


def test_numbers_and_texts_are_one_label() -> None:
    assert {label_text(value) for value in (41, 41.0, "41", " 41 ")} == {"41"}


def test_users_bring_csv_or_json(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("# source\nlabel,code,level,note\nwood,313,2,\nbog,412,,\ncloud,,,hidden\n")
    (tmp_path / "mine.json").write_text(
        json.dumps({"wood": {"code": 313, "level": 2}, "bog": 412, "cloud": {"code": 0, "note": "hidden"}})
    )
    one, other = (label_scheme(name, tmp_path) for name in ("mine.csv", "mine.json"))
    assert dict(one.statements) == dict(other.statements)
    assert one.statements == {"wood": Statement(313, 2), "bog": Statement(412), "cloud": None}
    assert (one.knows("cloud"), one.knows("road")) == (True, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,code\nwood,999\n", "label 'wood': 999 is not a CORINE level-3 code"),
        ("label,code,level\nwood,313,4\n", "label 'wood': 313: level 4"),
        ("label,code\nwood,forest\n", "label 'wood'"),
        ("label,code\nwood,313\nwood,312\n", "'wood' occurs twice"),
        ("label,code\ncloud,\n", "names no CORINE class"),
        ("word,number\nwood,313\n", "the columns label and code"),
    ],
)
def test_a_scheme_outside_the_nomenclature_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(GroundTruthError, match="mine") as caught:
        label_scheme("mine.csv", tmp_path)
    assert message in str(caught.value)


def test_an_unknown_scheme_names_the_existing_ones() -> None:
    with pytest.raises(GroundTruthError, match="worldcover"):
        label_scheme("world_cover")
