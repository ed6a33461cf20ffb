import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthsignature_assets.errors import UnknownClassError
from earthsignature_assets.nomenclature import (
    CLASSES,
    CODES,
    LEVEL_1_NAMES,
    LEVEL_2_NAMES,
    class_mask,
    class_of,
    codes_of_mask,
    known_codes,
    palette,
    parse_class,
)


def test_the_table_is_the_official_legend(real_data: Path) -> None:
    with (real_data / "clc_legend" / "clc_legend.csv").open() as file:
        official = [
            (int(row["clc_code"]), row["name_en"], (int(row["r"]), int(row["g"]), int(row["b"])))
            for row in csv.DictReader(file)
        ]
    assert [(entry.code, entry.name, entry.rgb) for entry in CLASSES] == official


def test_every_class_has_named_levels_above_it() -> None:
    assert len(CLASSES) == 44
    assert {entry.level_1 for entry in CLASSES} == set(LEVEL_1_NAMES)
    assert {entry.level_2 for entry in CLASSES} == set(LEVEL_2_NAMES)


@pytest.mark.parametrize("text", ["312", " 312 ", "Coniferous forest", "CONIFEROUS  FOREST"])
def test_a_class_is_found_by_code_and_by_name(text: str) -> None:
    assert parse_class(text).code == 312


@pytest.mark.parametrize("text", ["310", "forest", "", "-312", "٣١٢", "0"])
def test_an_unknown_class_is_refused(text: str) -> None:
    with pytest.raises(UnknownClassError):
        parse_class(text)


@given(st.sets(st.sampled_from(CODES)))
def test_a_set_of_codes_is_unpacked_from_its_mask(codes: set[int]) -> None:
    mask = class_mask(codes)
    assert 0 <= mask < 1 << 44
    assert codes_of_mask(mask) == codes


def test_tables_by_code_agree_with_the_classes() -> None:
    assert tuple(palette()[512]) == class_of(512).rgb
    assert tuple(palette()[0]) == (255, 255, 255)
    assert sorted(np.flatnonzero(known_codes())) == [0, *CODES]
