"""The area of interest: the ground that discovery searches.

By default Europe's land tiles; or named tiles, a WKT or GeoJSON polygon, or a file with one. Areas may cross the
antimeridian: they are cut there, as RFC 7946 asks of GeoJSON.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from shapely import from_wkt, prepare, union_all
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ConfigurationError, InvalidKeyError, ItemError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.imagery.scenes.footprint import cut_at_antimeridian, polygons_of
from earthsignature_assets.imagery.scenes.scene import tile_of
from earthsignature_assets.keys import parse_tile

EUROPE = "europe"
"""The setting that means Europe's land tiles."""

_TILES = re.compile(r"[0-9A-Za-z]{4,6}([, ]+[0-9A-Za-z]{4,6})*[, ]*")
_MOST_BOXES = 8

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AreaOfInterest:
    """The ground that discovery searches: named tiles, or every tile of a polygon.

    With tiles, only items of exactly these tiles count, because neighbouring tiles overlap them by 10 km.

    Attributes:
        geometry: polygons in EPSG:4326, cut at the antimeridian.
        tiles: MGRS tiles; empty if the polygon decides.
    """

    geometry: BaseGeometry
    tiles: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an area from a setting: `europe`, tiles separated by commas, WKT, or the path of a file.

        Raises:
            InvalidKeyError: the text is none of these, or is not a valid area.
            ConfigurationError: the file cannot be read.
        """
        text = text.strip()
        if text.lower() == EUROPE:
            return cls.of_tiles(*europe_tiles())
        if text.lower().endswith((".geojson", ".json", ".wkt", ".txt")):
            return cls.of_file(Path(text))
        if _TILES.fullmatch(text):
            return cls.of_tiles(*text.replace(",", " ").split())
        return cls.of_wkt(text)

    @classmethod
    def of_tiles(cls, *tiles: str) -> Self:
        """Make the area of named MGRS tiles.

        Raises:
            InvalidKeyError: a name is not a tile.
        """
        if not tiles:
            raise InvalidKeyError("an area of interest needs at least one tile, such as 32TQM")
        names = frozenset(parse_tile(tile) for tile in tiles)
        return cls(_ground_of(names), names)

    @classmethod
    def of_wkt(cls, wkt: str) -> Self:
        """Read an area from WKT polygons, EPSG:4326; longitudes beyond ±180 lie across the antimeridian.

        Raises:
            InvalidKeyError: the text is not a WKT area.
        """
        try:
            return cls(_area(from_wkt(wkt)))
        except ShapelyError as error:
            raise InvalidKeyError(
                f"the area of interest is neither {EUROPE!r}, tiles, a file (.geojson, .json, .wkt), nor WKT: {error}"
            ) from error

    @classmethod
    def of_geojson(cls, content: dict[str, Any]) -> Self:
        """Read an area from a GeoJSON geometry, feature or feature collection.

        Raises:
            InvalidKeyError: the content has no valid area.
        """
        try:
            geometries = [shape(geometry) for geometry in _geometries(content)]
        except (ShapelyError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidKeyError(f"the area of interest is not valid GeoJSON: {error!r}") from error
        return cls(_area(*geometries))

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Read an area from a GeoJSON or WKT file.

        Raises:
            ConfigurationError: the file cannot be read.
            InvalidKeyError: the file has no valid area.
        """
        try:
            text = path.expanduser().read_text(encoding="utf-8-sig").strip()
            content = json.loads(text) if text.startswith("{") else None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"area of interest {path} cannot be read: {error}") from error
        try:
            return cls.of_wkt(text) if content is None else cls.of_geojson(content)
        except InvalidKeyError as error:
            raise InvalidKeyError(f"{path}: {error}") from error

    @property
    def boxes(self) -> list[Box]:
        """Return boxes (west, south, east, north) that cover the area; none of them crosses the antimeridian."""
        parts = polygons_of(self.geometry)
        if len(parts) <= _MOST_BOXES:
            return [part.bounds for part in parts]
        # One box for each side of the antimeridian: a single box would span the whole globe.
        sides = [[part for part in parts if east is (part.centroid.x >= 0)] for east in (False, True)]
        crossing = min(part.bounds[0] for part in parts) <= -179 and max(part.bounds[2] for part in parts) >= 179
        groups = [side for side in sides if side] if crossing else [parts]
        return [MultiPolygon(group).bounds for group in groups]

    def holds(self, item: Mapping[str, Any]) -> bool:
        """Tell whether a STAC item belongs to the area: its tile is named, or its footprint touches the polygon.

        An item without a tile or footprint belongs: reading it reports what it lacks.
        """
        if self.tiles:
            try:
                return tile_of(item) in self.tiles
            except (ItemError, InvalidKeyError):
                return True
        try:
            footprint = cut_at_antimeridian(shape(item["geometry"]))
        except (ShapelyError, ValueError, KeyError, TypeError, AttributeError):
            return True
        prepare(self.geometry)
        return bool(self.geometry.intersects(footprint))


@cache
def europe_tiles() -> tuple[str, ...]:
    """Return Europe's land tiles (`scripts/list_europe_tiles.py` defines what counts as Europe)."""
    text = (resources.files("earthsignature_assets.imagery") / "europe_tiles.txt").read_text(encoding="ascii")
    lines = (line.split() for line in text.splitlines())
    return tuple(zone + square for zone, *squares in lines for square in squares)


@cache
def _ground_of(tiles: frozenset[str]) -> BaseGeometry:
    return union_all([cut_at_antimeridian(tile_grid(tile).footprint()) for tile in sorted(tiles)])


def _area(*geometries: BaseGeometry | None) -> BaseGeometry:
    parts = [part for geometry in geometries if geometry is not None for part in polygons_of(geometry)]
    if not parts or any(part.area == 0 or not part.is_valid for part in parts):
        raise InvalidKeyError("the area of interest must be a valid, non-empty polygon in EPSG:4326")
    whole = union_all([cut_at_antimeridian(part) for part in parts])
    west, south, east, north = whole.bounds
    if west < -180 or south < -90 or east > 180 or north > 90:
        raise InvalidKeyError(
            f"the area of interest extends from {west:g} {south:g} to {east:g} {north:g}: give degrees in EPSG:4326"
        )
    return whole


def _geometries(content: dict[str, Any]) -> Iterable[dict[str, Any]]:
    match content["type"]:
        case "FeatureCollection":
            for feature in content["features"]:
                yield from _geometries(feature)
        case "Feature":
            yield content["geometry"]
        case _:
            yield content
