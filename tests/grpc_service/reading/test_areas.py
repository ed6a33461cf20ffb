"""WKT in and out: valid areas, refused areas and the work before a refusal, and the text in answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import QueryError
from earthsignature_grpc.reading import areas
from earthsignature_grpc.reading.areas import (
    MAX_VERTICES,
    MAX_WKT_BYTES,
    format_footprint,
    format_footprints,
    parse_area,
)

SQUARE = "((0 0, 1 0, 1 1, 0 1, 0 0))"


_DEGREES = st.floats(-180, 180)
_PARTS = st.lists(st.tuples(_DEGREES, _DEGREES), min_size=3, max_size=6)


def _ring(vertices: list[tuple[float, float]]) -> str:
    return "POLYGON ((" + ", ".join(f"{x:.6f} {y:.6f}" for x, y in [*vertices, vertices[0]]) + "))"


@pytest.mark.parametrize(
    ("wkt", "area"),
    [
        (f"POLYGON {SQUARE}", 1),
        (f"polygon{SQUARE}", 1),
        ("POLYGON Z ((0 0 9, 1 0 9, 1 1 9, 0 1 9, 0 0 9))", 1),
        ("POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 2, 1 1))", 15),
        (f"MULTIPOLYGON ({SQUARE}, EMPTY)", 1),
        (f"MULTIPOLYGON ({SQUARE}, ((5 5, 6 5, 6 6, 5 6, 5 5)))", 2),
        (f"GEOMETRYCOLLECTION (POLYGON {SQUARE}, GEOMETRYCOLLECTION (MULTIPOLYGON (((5 5, 6 5, 6 6, 5 6, 5 5)))))", 2),
        ("POLYGON ((-180 -90, 180 -90, 180 90, -180 90, -180 -90))", 360 * 180),
    ],
)
def test_areas_are_read(wkt: str, area: float) -> None:
    geometry = parse_area(wkt)
    assert geometry.area == area
    assert not geometry.has_z


def test_parts_that_overlap_are_their_union() -> None:
    area = parse_area(f"MULTIPOLYGON ({SQUARE}, ((0.2 0, 1 0, 1 1, 0.2 1, 0.2 0)))")
    inside_both = shapely.box(0.4, 0.4, 0.5, 0.5)
    assert area.intersects(inside_both)
    shapely.prepare(area)
    assert area.intersects(inside_both)
    assert not area.intersects(shapely.box(2, 2, 3, 3))


@pytest.mark.parametrize(
    ("wkt", "remedy"),
    [
        ("", "give, for example, POLYGON"),
        ("POLYGON ((0 0, 1 0, 1 1))", "give, for example, POLYGON"),
        ("SRID=4326;POLYGON ((0 0, 1 0, 1 1, 0 0))", "give, for example, POLYGON"),
        ("CURVEPOLYGON (CIRCULARSTRING (0 0, 4 0, 4 4, 0 4, 0 0))", "give, for example, POLYGON"),
        (f"POLYGON {SQUARE}\0 and more", "plain text"),
        ("GEOMETRYCOLLECTION EMPTY", "leave wkt out"),
        ("MULTIPOLYGON (EMPTY)", "leave wkt out"),
        ("LINESTRING (0 0, 1 1)", "buffer it"),
        (f"GEOMETRYCOLLECTION (POLYGON {SQUARE}, POINT (3 3))", "buffer it"),
        ("POLYGON ((0 0, 1 0, 1e999 1, 0 0))", "not finite"),
        ("POLYGON ((0 0, 1 0, 1 -90.001, 0 0))", "longitude first"),
        ("POLYGON ((0 0, 1 1, 0 1, 1 0, 0 0))", "shapely.make_valid"),
        ("POLYGON ((0 0, 1 1, 2 2, 0 0))", "shapely.make_valid"),
    ],
)
def test_invalid_areas_are_refused_with_a_remedy(wkt: str, remedy: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_area(wkt)
    assert caught.value.field == "wkt"
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("wkt", "most_work", "remedy"),
    [
        ("(" * MAX_WKT_BYTES, [], "brackets"),
        ("GEOMETRYCOLLECTION (" * 5_000, [], "nests more than"),
        ("x" * MAX_WKT_BYTES, ["parse"], "Unknown type"),
        ("POLYGON ((" + "1" * (MAX_WKT_BYTES - 10), ["parse"], "Expected number"),
        ("POLYGON ((" + "0 0, " * (MAX_VERTICES - 1) + "0 0))", ["parse", "part"], "9999 edges"),
        ("POLYGON ((" + "0 0, " * MAX_VERTICES + "0 0))", [], "vertices"),
        (
            "POLYGON (" + ", ".join(f"(0 0, 20 0, 20 {n / 100}, 0 0)" for n in range(MAX_VERTICES // 4, 0, -1)) + ")",
            ["parse", "part"],
            "9999 edges",
        ),
        ("P" * (MAX_WKT_BYTES + 1), [], "characters long"),
        (
            _ring([(80 * np.cos(k * 2.4), 80 * np.sin(k * 2.4)) for k in range(MAX_VERTICES - 1)]),
            ["parse", "part"],
            "9999 edges",
        ),
        (
            _ring([(k / 200 * np.cos(k * 0.37), k / 200 * np.sin(k * 0.37)) for k in range(MAX_VERTICES - 1)]),
            ["parse", "part", "validity"],
            "Self-intersection",
        ),
        (
            _ring([(-80 + k / 100, 80 if k % 2 else -80) for k in range(MAX_VERTICES - 1)]),
            ["parse", "part", "validity"],
            "Ring Self-intersection",
        ),
        (
            "MULTIPOLYGON ("
            + ", ".join(
                f"((-{80 - k / 99} 0, 9 0, 9 {k / 99}, -9 {k / 99}, -{80 - k / 99} 0))"
                for k in range(1, MAX_VERTICES // 5)
            )
            + ")",
            ["parse"],
            "1999 parts",
        ),
        ("MULTIPOLYGON (" + ", ".join([SQUARE] * (MAX_VERTICES // 5)) + ")", ["parse"], "2000 parts"),
        ("POLYGON ((0 0, 1e99999999999 0, 1 1, 0 0))", ["parse", "part"], "not finite"),
    ],
    ids=[
        "brackets",
        "nested",
        "word",
        "number",
        "same vertex",
        "vertices",
        "holes",
        "bytes",
        "star",
        "spiral",
        "zigzag",
        "heap",
        "same squares",
        "exponent",
    ],
)
def test_pathological_texts_are_refused_before_the_work_that_they_would_make(
    wkt: str, most_work: list[str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    checked = areas._checked

    def parse(text: str) -> BaseGeometry:
        work.append("parse")
        assert len(text) <= MAX_WKT_BYTES
        return shapely.from_wkt(text)

    def reason(part: BaseGeometry) -> str:
        work.append("validity")
        assert shapely.get_num_coordinates(part) <= MAX_VERTICES
        return shapely.is_valid_reason(part)

    def check(part: BaseGeometry) -> shapely.Polygon:
        work.append("part")
        return checked(part)

    monkeypatch.setattr(areas, "_checked", check)
    monkeypatch.setattr(
        areas, "shapely", SimpleNamespace(**vars(shapely) | {"from_wkt": parse, "is_valid_reason": reason})
    )
    with pytest.raises(QueryError) as caught:
        parse_area(wkt)
    assert work == most_work
    assert remedy in caught.value.remedy
    assert len(caught.value.remedy) < 400


@settings(deadline=None, database=None)  # a busy machine is no fault
@given(st.one_of(st.text(), st.text(alphabet="POLYGNMUTIEC 0123456789.,()-+eZ").map(lambda text: "POLYGON ((" + text)))
def test_any_text_is_an_area_or_a_query_error(wkt: str) -> None:
    try:
        area = parse_area(wkt)
    except QueryError:
        return
    assert area.area > 0


def test_footprints_are_written_as_the_service_wrote_them_in_2022(real_data: Path) -> None:
    published = json.loads((real_data / "earthsignature_2022" / "33TXL_response.json").read_text())["wkt"]
    assert format_footprint(shapely.from_wkt(published)) == published


def test_a_single_polygon_is_written_as_a_multipolygon() -> None:
    text = format_footprint(shapely.box(0, 0, 0.1, 1))
    assert text.startswith("MULTIPOLYGON (((0.1000000000000000 0.0000000000000000, ")
    assert shapely.from_wkt(text).equals(shapely.box(0, 0, 0.1, 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(_PARTS, min_size=1, max_size=3), max_size=5))
def test_footprints_are_written_together_as_one_by_one(products: list[list[Any]]) -> None:
    polygons = [[shapely.Polygon(ring) for ring in parts] for parts in products]
    footprints = [parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts) for parts in polygons]
    whole = [shapely.to_wkt(shapely.MultiPolygon(parts), rounding_precision=16, trim=False) for parts in polygons]
    assert format_footprints(footprints) == whole
