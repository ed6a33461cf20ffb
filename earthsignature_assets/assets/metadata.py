"""Metadata for the Dagster UI: owners, pictures, tables."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.pictures import RGB, png

if TYPE_CHECKING:
    Materialised = dg.MaterializeResult[None]
else:
    Materialised = dg.MaterializeResult  # an asset with checks must be annotated with the class itself


OWNERS = ["team:earthsignature"]
"""Owners of every asset in the UI."""


def picture(image: RGB) -> dg.MarkdownMetadataValue:
    """Encode a picture as metadata."""
    return png_picture(png(image))


def png_picture(content: bytes) -> dg.MarkdownMetadataValue:
    """Embed a PNG in the event."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(content).decode()})")


def table(rows: Sequence[Mapping[str, str | int | float | bool | None]]) -> dg.TableMetadataValue:
    """Make a table; every row has the columns of the first."""
    columns = list(rows[0]) if rows else ["nothing"]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _plain(value) for name, value in row.items()}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, _kind(rows[0][name]) if rows else "string") for name in columns]),
    )


def class_table(area_m2_by_code: Mapping[int, float]) -> dg.TableMetadataValue:
    """Make the table of the class areas in hectares, largest first."""
    total = sum(area_m2_by_code.values())
    return table(
        [
            {
                "code": code,
                "class": class_of(code).name,
                "hectares": round(area / 10_000, 2),
                "percent": round(100 * area / total, 2),
            }
            for code, area in sorted(area_m2_by_code.items(), key=lambda entry: -entry[1])
        ]
    )


def _plain(value: str | int | float | bool | None) -> str | int | float | bool:
    return "" if value is None else value


def _kind(value: str | int | float | bool | None) -> str:
    kinds: dict[type, str] = {bool: "bool", int: "int", float: "float"}
    return kinds.get(type(value), "string")
