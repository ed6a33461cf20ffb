"""The facts about a product in a CreateProduct request.

They are properties of the request's Geobuf, on its only Feature or on its FeatureCollection: `product_id` and `model`,
and optionally `sensed_at`, `cloud_cover`, `confidence` (both in percent) and `source` (a URL).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.errors import InvalidKeyError, QueryError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.keys import ModelVersion, SceneKey, parse_product_id, relative_orbit_of

_SOURCE_SCHEMES = ("http://", "https://", "s3://")
"""Schemes of links that a reader's browser may follow: `javascript:` and `file:` are none of them."""


@dataclass(frozen=True)
class Facts:
    """The facts about a product, and the request field that holds them, for error messages."""

    field: str
    product_id: str
    model: ModelVersion
    sensed_at: dt.datetime
    cloud_cover_percent: float | None
    confidence_percent: int
    source: str

    @property
    def tile(self) -> str:
        """The MGRS tile in the product name."""
        return self.product_id.split("_")[5][1:]

    @property
    def scene(self) -> SceneKey:
        """The scene of the product."""
        return SceneKey(self.sensed_at.date(), relative_orbit_of(self.product_id), self.tile)


def read_facts(properties: dict[str, Any], field: str) -> Facts:
    """Read the facts from the properties of a Geobuf.

    Raises:
        QueryError: a fact is missing or invalid.
    """

    def wrong(name: str, why: object) -> QueryError:
        return QueryError(field, f"property {name} {why}")

    for name in ("product_id", "model"):
        if not isinstance(properties.get(name), str):
            raise wrong(name, "is missing or not a text; set it on the request's feature or feature collection")
    try:
        product_id = parse_product_id(properties["product_id"])
        tile_grid(product_id.split("_")[5][1:])
        model = ModelVersion.parse(properties["model"])
        named = dt.datetime.strptime(product_id.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        sensed_at = dt.datetime.fromisoformat(properties.get("sensed_at", named.isoformat()))
    except (InvalidKeyError, ValueError, TypeError) as error:
        raise QueryError(field, f"properties product_id, model or sensed_at: {error}") from error
    if sensed_at.tzinfo is None or abs(sensed_at - named) > dt.timedelta(days=1):
        raise wrong("sensed_at", f"{sensed_at} has no time zone, or is not on the day in the product name")
    numbers: dict[str, float | None] = {}
    for name in ("cloud_cover", "confidence"):
        value = properties.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value <= 100):
            raise wrong(name, f"is {value!r}; give a percentage, 0 to 100, or leave it out")
        numbers[name] = value
    source = properties.get("source", product_id)
    known = source == product_id or (isinstance(source, str) and source.startswith(_SOURCE_SCHEMES))
    if not known or len(source) > 2000 or not source.isprintable():
        raise wrong("source", "is not an http, https or s3 URL; give that of the STAC item, or leave it out")
    confidence = round(numbers["confidence"] or 0)
    return Facts(field, product_id, model, sensed_at, numbers["cloud_cover"], confidence, source)
