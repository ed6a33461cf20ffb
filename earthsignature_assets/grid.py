"""The pixel grids of Sentinel-2's tiles: the position of each MGRS tile in its UTM zone.

A tile is 109.8 km square; its origin is the upper-left corner of its MGRS 100 km square, moved outward to the
next multiple of 60 m so that the 10, 20 and 60 m grids nest. Source: MGRS lettering (NGA.STND.0037), and the
origins of ESA's tiling grid, which the tests compare with published items and footprints.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from shapely import box, segmentize, transform
from shapely.geometry import Polygon

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import parse_tile

TILE_SIZE_M = 109_800
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_SQUARE_M = 100_000
_FALSE_NORTHING_M = 10_000_000


@dataclass(frozen=True)
class PixelWindow:
    """A window of a grid: rows and columns, both with a start and a stop."""

    rows: slice
    columns: slice

    @property
    def index(self) -> tuple[slice, slice]:
        """Index of the window in an array of the whole grid."""
        return self.rows, self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def split(self, rows_each: int, columns_each: int) -> Iterator[Self]:
        """Split the window into smaller ones, from the upper left, row by row; the last ones may be smaller."""
        for row in range(self.rows.start, self.rows.stop, rows_each):
            rows = slice(row, min(row + rows_each, self.rows.stop))
            for column in range(self.columns.start, self.columns.stop, columns_each):
                yield type(self)(rows, slice(column, min(column + columns_each, self.columns.stop)))

    def within(self, outer: Self) -> Self:
        """Return this window relative to an outer one."""
        rows, columns = (
            slice(side.start - whole.start, side.stop - whole.start)
            for side, whole in zip(self.index, outer.index, strict=True)
        )
        return type(self)(rows, columns)


@dataclass(frozen=True)
class PixelGrid:
    """A north-up pixel grid in a projected CRS: metres, origin at the upper-left corner."""

    epsg: int
    left_m: float
    top_m: float
    resolution_m: float
    width: int
    height: int

    @property
    def transform(self) -> Affine:
        """Affine transform of pixel corners: (column, row) → (easting, northing) in metres."""
        return Affine(self.resolution_m, 0.0, self.left_m, 0.0, -self.resolution_m, self.top_m)

    @property
    def crs(self) -> CRS:
        """Coordinate reference system of the grid."""
        return CRS.from_epsg(self.epsg)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        return (
            self.left_m,
            self.top_m - self.height * self.resolution_m,
            self.left_m + self.width * self.resolution_m,
            self.top_m,
        )

    @property
    def whole(self) -> PixelWindow:
        """Window of the whole grid."""
        return PixelWindow(slice(0, self.height), slice(0, self.width))

    @property
    def pixel_area_m2(self) -> float:
        """Area of one pixel, in m²."""
        return self.resolution_m**2

    def at_resolution(self, resolution_m: float) -> Self:
        """Return the grid of the same extent at another resolution; a last partial pixel is kept."""
        factor = self.resolution_m / resolution_m
        return type(self)(
            self.epsg,
            self.left_m,
            self.top_m,
            resolution_m,
            -int(-self.width * factor // 1),
            -int(-self.height * factor // 1),
        )

    def footprint(self, step_m: float = 10_000.0) -> Polygon:
        """Return the grid's outline in EPSG:4326, with a vertex at least every `step_m` along each side."""
        outline = segmentize(box(*self.bounds), step_m)
        project = Transformer.from_crs(self.epsg, 4326, always_xy=True).transform
        return transform(outline, lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1])))


def tile_grid(tile: str, resolution_m: float = 10.0) -> PixelGrid:
    """Return the full grid of a Sentinel-2 tile (10980×10980 at 10 m).

    Raises:
        InvalidKeyError: the text is not an MGRS tile, or its letters do not exist in that zone.
    """
    tile = parse_tile(tile)
    zone, band, column, row = int(tile[:2]), tile[2], tile[3], tile[4]
    columns = _COLUMNS[(zone - 1) % 3]
    if column not in columns:
        raise InvalidKeyError(f"tile {tile}: column {column} does not exist in zone {zone} ({columns})")
    easting = (columns.index(column) + 1) * _SQUARE_M
    offset = 0 if zone % 2 else 5
    row_index = (_ROWS.index(row) - offset) % 20
    northing = row_index * _SQUARE_M
    north = band >= "N"
    # Row letters repeat every 2,000 km: take the repetition within the latitude band.
    middle_latitude = (_BANDS.index(band) - 10) * 8.0 + (6.0 if band == "X" else 4.0)
    epsg = (32600 if north else 32700) + zone
    project = Transformer.from_crs(4326, epsg, always_xy=True)
    _, middle = project.transform(zone * 6 - 183, middle_latitude)
    cycle = round((middle - northing - _SQUARE_M / 2) / 2_000_000)
    northing += cycle * 2_000_000
    if abs(northing + _SQUARE_M / 2 - middle) > 8 * 111_000 / 2 + 2 * _SQUARE_M + (250_000 if band == "X" else 0):
        raise InvalidKeyError(f"tile {tile}: row {row} does not exist in latitude band {band}")
    left = easting // 60 * 60
    # South of the equator the grids nest from the false northing of 10,000 km.
    base = 0 if north else _FALSE_NORTHING_M
    top = -(-(northing + _SQUARE_M - base) // 60) * 60 + base
    size = round(TILE_SIZE_M / resolution_m)
    return PixelGrid(epsg, float(left), float(top), resolution_m, size, size)
