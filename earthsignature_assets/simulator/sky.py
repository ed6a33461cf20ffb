"""The sun, the clouds with their shadows, and the edge of the swath."""

import datetime as dt
import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from shapely import box
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.simulator.noise import fractal_noise, kernel

Mask = npt.NDArray[np.bool_]
Share = npt.NDArray[np.float32]

CELL_M = 20.0
CLOUD_OPACITY = 0.06
"""The lowest opacity of a cloud (thin cirrus) in the scene classification."""

# Westward drift of the descending ground track per metre southward, from the footprint of
# S2B_33TWN_20220226_0_L2A (27.0 km over 109.7 km).
_TRACK_SLOPE = 0.246
# Reflectance of a thick cloud, and the part a shadow removes, in the order of `S2_BANDS`. Clouds: bright and flat in
# the visible, lower in the SWIR, where droplets absorb. Shadows: sky light, which is blue, still reaches the ground.
_CLOUD = np.array([7200, 7000, 7000, 7100, 7200, 7300, 7400, 7400, 4500, 3600], np.float32)
_SHADOW = np.array([0.45, 0.50, 0.55, 0.58, 0.62, 0.64, 0.65, 0.65, 0.70, 0.70], np.float32)
_CLOUD_BASE_M = 1400.0


class Part(StrEnum):
    """The part of a tile in a product: two ground stations can each deliver one part of a datatake."""

    WHOLE = "whole"
    NORTH = "north"
    SOUTH = "south"


@dataclass(frozen=True)
class Sun:
    """The sun's azimuth (degrees from north, clockwise) and elevation (degrees above the horizon)."""

    azimuth: float
    elevation: float

    @classmethod
    def at_overpass(cls, day: dt.date, latitude: float) -> "Sun":
        """Compute the sun's position at Sentinel-2's overpass (10:45 local solar time), with Cooper's declination."""
        declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day.timetuple().tm_yday) / 365)
        hour_angle = math.radians((10.75 - 12) * 15)
        phi = math.radians(latitude)
        sine = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour_angle)
        elevation = math.asin(sine)
        cosine = (math.sin(declination) - sine * math.sin(phi)) / (math.cos(elevation) * math.cos(phi))
        return cls(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))), max(5.0, math.degrees(elevation)))


@dataclass(frozen=True)
class Swath:
    """The 20 m cells that a product observed, (rows, columns) bool, and their outline in metres of the grid.

    `rim` marks the stray cells along the swath's edge with a 1 in some bands; they are not valid.
    """

    valid: Mask
    rim: Mask
    outline: BaseGeometry


def swath(cells: int, missing: float, west: bool, part: Part) -> Swath:
    """Mask a square of cells by the swath's edge and the product's part.

    Args:
        cells: rows and columns of 20 m cells.
        missing: fraction of the square outside the swath, 0…1.
        west: whether the missing side is the western one.
        part: the part of the tile in the product.

    Returns:
        Masks, and the outline in metres east and south of the square's upper-left corner.
    """
    rows = np.arange(cells)[:, None] + 0.5
    columns = np.arange(cells)[None, :] + 0.5
    side = cells * CELL_M
    valid = np.ones((cells, cells), bool)
    rim = np.zeros((cells, cells), bool)
    half: list[tuple[float, float]]
    outline: BaseGeometry = box(0, 0, side, side)
    if missing > 0:
        edge = _edge(cells, missing if west else 1 - missing)
        across = columns - (edge - _TRACK_SLOPE * rows)
        valid = across >= 0 if west else across < 0
        rim = ((across >= -1.5) & (across < 0)) if west else ((across >= 0) & (across < 1.5))
        # Vertices of the swath's side of a strip much larger than the square.
        top, bottom = edge + _TRACK_SLOPE * cells, edge - _TRACK_SLOPE * 2 * cells
        far = 4 * cells if west else -4 * cells
        half = [(top, -cells), (bottom, 2 * cells), (far, 2 * cells), (far, -cells)]
        outline = outline & Polygon([(x * CELL_M, y * CELL_M) for x, y in half])
    if part is not Part.WHOLE:
        middle = cells * (0.5 - _TRACK_SLOPE / 2)
        above = rows - (middle + _TRACK_SLOPE * columns) < 0
        kept = above if part is Part.NORTH else ~above
        valid, rim = valid & kept, rim & kept
        far = -4 * cells if part is Part.NORTH else 4 * cells
        left, right = middle - _TRACK_SLOPE * cells, middle + _TRACK_SLOPE * 2 * cells
        half = [(-cells, left), (2 * cells, right), (2 * cells, far), (-cells, far)]
        outline = outline & Polygon([(x * CELL_M, y * CELL_M) for x, y in half])
    return Swath(valid, rim, outline)


def _edge(cells: int, fraction: float) -> float:
    """Find the column at which the swath's edge meets row 0 so that `fraction` of the square is west of it."""
    rows = np.arange(cells) + 0.5
    low, high = -float(cells), 2.0 * cells
    for _ in range(60):
        middle = (low + high) / 2
        if np.clip(middle - _TRACK_SLOPE * rows, 0, cells).mean() < fraction * cells:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True)
class Sky:
    """Clouds and shadows over 20 m cells, (rows, columns) float32, 0…1: `opacity`, `shadow`; `brightness` near 1."""

    opacity: Share
    shadow: Share
    brightness: Share

    @classmethod
    def over(cls, valid: Mask, cloud_cover: float, sun: Sun, seed: int) -> "Sky":
        """Place clouds over a scene so that `cloud_cover` of its valid cells have `CLOUD_OPACITY` or more."""
        rows, columns = valid.shape
        if cloud_cover <= 0 or not valid.any():
            nothing = np.zeros(valid.shape, np.float32)
            return cls(nothing, nothing, np.ones(valid.shape, np.float32))
        reach = _CLOUD_BASE_M / math.tan(math.radians(sun.elevation)) / CELL_M
        across = math.sin(math.radians(sun.azimuth)) * reach
        down = -math.cos(math.radians(sun.azimuth)) * reach
        margin = math.ceil(reach) + 1
        field = np.empty((rows + 2 * margin, columns + 2 * margin), np.float32)
        _cloud_field(seed, -margin, -margin, field)
        inner = field[margin : margin + rows, margin : margin + columns]
        threshold = float(np.quantile(inner[valid], 1 - cloud_cover)) - (0.02 if cloud_cover >= 1 else 0.0)
        # A logistic edge: `CLOUD_OPACITY` at the threshold, opaque soon after.
        opacity = 1.0 / (1.0 + np.exp(2.7515 - (field - np.float32(threshold)) * np.float32(62.0)))
        # The cell towards the sun casts a cell's shadow.
        shift = np.array([[1, 0, margin + across], [0, 1, margin + down]], np.float32)
        shifted = cv2.warpAffine(opacity, shift, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        shadow = np.asarray(shifted, np.float32)
        own = opacity[margin : margin + rows, margin : margin + columns]
        brightness = np.clip(0.72 + 2.2 * (inner - np.float32(threshold)), 0.7, 1.25)
        return cls(np.ascontiguousarray(own), shadow, brightness.astype(np.float32))

    def dim(self, reflectance: Share, band: int, first_row: int, last_row: int) -> Share:
        """Return reflectance × 10000 of 10 m rows seen through the clouds, (rows, columns) float32.

        Args:
            reflectance: (last_row − first_row, columns) float32 under a clear sky.
            band: the band's position in `S2_BANDS`.
            first_row: first 10 m row, even.
            last_row: the row after the last, even.
        """
        opacity, shadow = (_doubled(layer, first_row, last_row) for layer in (self.opacity, self.shadow))
        brightness = _doubled(self.brightness, first_row, last_row)
        lit = reflectance * (1 - shadow * (1 - opacity) * _SHADOW[band])
        return np.asarray(lit * (1 - opacity) + _CLOUD[band] * brightness * opacity)


def _doubled(layer: Share, first_row: int, last_row: int) -> Share:
    """Interpolate the cells of a range of 10 m rows to 10 m."""
    begin, end = max(0, first_row // 2 - 1), min(layer.shape[0], last_row // 2 + 1)
    fine = cv2.resize(layer[begin:end], None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine[first_row - 2 * begin : last_row - 2 * begin])


@kernel
def _cloud_field(seed: int, row_0: int, column_0: int, out: Share) -> None:
    rows, columns = out.shape
    for r in range(rows):
        for c in range(columns):
            x, y = float(c + column_0), float(r + row_0)
            fluff = fractal_noise(seed + 5, x / 34.0, y / 34.0, 5) - 0.5
            out[r, c] = fractal_noise(seed, (x + 26.0 * fluff) / 190.0, (y + 26.0 * fluff) / 150.0, 3) + 0.22 * fluff
