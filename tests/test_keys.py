import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import (
    ModelVersion,
    SceneKey,
    parse_product_id,
    parse_tile,
    product_type_of,
    relative_orbit_of,
)

PRODUCT = "S2B_MSIL2A_20220430T100019_N0400_R122_T33TXL_20220430T120209"


@given(
    day=st.dates(dt.date(2015, 7, 4), dt.date(2100, 1, 1)),
    orbit=st.integers(1, 143),
    tile=st.sampled_from(["32TQM", "01CCV", "60XWS", "33UUP"]),
)
def test_a_scene_key_reads_back_what_it_wrote(day: dt.date, orbit: int, tile: str) -> None:
    key = SceneKey(day, orbit, tile)
    assert SceneKey.parse(str(key)) == key


def test_scene_keys_sort_by_day_as_text_does() -> None:
    keys = [SceneKey(dt.date(2026, month, 1), orbit, "32TQM") for month in (11, 2) for orbit in (122, 22)]
    assert [str(key) for key in sorted(keys)] == sorted(map(str, keys))


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01_R022_32TQM",
        "2026-02-30_R022_T32TQM",
        "2026-05-01_R000_T32TQM",
        "2026-05-01_R144_T32TQM",
        "2026-05-01_R022_T61TQM",
        "2026-05-01_R022_T32TQM\n",
        "../2026-05-01_R022_T32TQM",
        "a|b",
        "2026-05-01_R٠٢٢_T32TQM",
        "",
    ],
)
def test_a_text_that_is_not_a_scene_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeyError):
        SceneKey.parse(text)


@pytest.mark.parametrize(
    ("text", "tile"), [("T32TQM", "32TQM"), ("32tqm", "32TQM"), ("1CCV", "01CCV"), (" 05WNT ", "05WNT")]
)
def test_a_tile_is_brought_to_its_canonical_form(text: str, tile: str) -> None:
    assert parse_tile(text) == tile


@pytest.mark.parametrize("text", ["99XYZ", "32IQM", "32TQW", "32TQ", "00TQM", "", "32TQM/.."])
def test_a_text_that_is_not_a_tile_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidKeyError, match="32TQM"):
        parse_tile(text)


def test_a_model_version_reads_back_what_it_wrote() -> None:
    assert ModelVersion.parse("corine-unet-v12") == ModelVersion("corine-unet", 12)
    assert str(ModelVersion("corine-unet", 12)) == "corine-unet-v12"


@pytest.mark.parametrize(
    "text", ["corine-unet", "corine|unet-v1", "Corine-v1", "a/b-v1", "a-v0", "-v1", "a-v01", "a-v١"]
)
def test_a_text_that_is_not_a_model_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeyError, match="corine-unet-v1"):
        ModelVersion.parse(text)


def test_a_product_name_is_parsed_without_its_safe_suffix() -> None:
    assert parse_product_id(PRODUCT + ".SAFE") == PRODUCT
    assert relative_orbit_of(PRODUCT) == 122
    assert product_type_of(PRODUCT) == "S2MSI2A"
    assert product_type_of(PRODUCT.replace("MSIL2A", "MSIL1C")) == "S2MSI1C"


@pytest.mark.parametrize(
    "text",
    [
        "../../etc/passwd",
        PRODUCT[:-1],
        PRODUCT + "/x",
        PRODUCT.replace("S2B", "S3B"),
        PRODUCT.replace("N0400", "N٠٤٠٠"),
    ],
)
def test_a_text_that_is_not_a_product_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeyError):
        parse_product_id(text)


def test_a_refusal_quotes_no_more_than_the_beginning_of_a_long_text() -> None:
    for parse in (parse_product_id, parse_tile, SceneKey.parse, ModelVersion.parse):
        with pytest.raises(InvalidKeyError) as refusal:
            parse("x" * 100_000)
        assert len(str(refusal.value)) < 400


def test_the_name_of_a_model_has_at_most_64_characters() -> None:
    assert ModelVersion.parse("a" * 64 + "-v999999").name == "a" * 64
    with pytest.raises(InvalidKeyError, match="corine-unet-v1"):
        ModelVersion.parse("a" * 65 + "-v1")
