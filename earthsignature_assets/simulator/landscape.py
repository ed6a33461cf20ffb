"""The land of a tile: the class and the material of every pixel of the 10 m grid.

Everything is a function of the pixel's position on the tile and of the seed, so the land is the same on every day, in
every crop, and in any order of blocks. Roads, tracks, hedges and riparian trees are narrower than a CORINE unit
(100 m wide, 25 ha): they colour pixels but keep the surrounding class.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.simulator.noise import fractal_noise, kernel, normal, uniform, value_noise

Plane = npt.NDArray[np.uint8]

CODES = (112, 121, 211, 222, 231, 313, 321, 512)
"""The CORINE classes of the land: those with signatures, in the order of the signatures."""

_TOWN, _INDUSTRY, _ARABLE, _ORCHARD, _PASTURE, _FOREST, _GRASS, _WATER = range(8)
_SPECTRA = 6
_TOWN_SPACING = 330.0
_TOWN_REACH = 210.0
_BLOCK_SPACING = 96.0
_RIVER_SPACING = 900.0
_ROAD_SPACING = 420.0


@dataclass(frozen=True)
class Land:
    """The pixels of a block of land; each array is (rows, columns).

    `truth` uint16: CORINE level-3 code. `first` and `second` uint8: the two spectra that the pixel mixes, as
    6 · (position in `CODES`) + (spectrum of the signature). `share` uint8: share of the second, in 255ths.
    `grain_1` and `grain_2` int8: deviations along the signature's axes, in 32nds of a standard deviation.
    `light` uint8: illumination from relief and structure, in 128ths.
    """

    truth: npt.NDArray[np.uint16]
    first: Plane
    second: Plane
    share: Plane
    grain_1: npt.NDArray[np.int8]
    grain_2: npt.NDArray[np.int8]
    light: Plane

    @classmethod
    def empty(cls, rows: int, columns: int) -> "Land":
        """Allocate planes without filling them."""
        shape = (rows, columns)
        return cls(
            np.empty(shape, np.uint16),
            np.empty(shape, np.uint8),
            np.empty(shape, np.uint8),
            np.empty(shape, np.uint8),
            np.empty(shape, np.int8),
            np.empty(shape, np.int8),
            np.empty(shape, np.uint8),
        )


def fill_land(land: Land, seed: int, season: float, sun_azimuth: float, first_row: int, last_row: int) -> None:
    """Fill the rows `first_row` (included) to `last_row` (excluded) of a tile's land.

    Args:
        land: the planes; their first pixel is the tile's upper-left pixel.
        seed: the land's seed; the truth depends on nothing else.
        season: −1 (midwinter) … 1 (midsummer): how green the fields are.
        sun_azimuth: radians from north, clockwise; slopes that face it are brighter.
        first_row: see above.
        last_row: see above.
    """
    _fill(
        land.truth[first_row:last_row],
        land.first[first_row:last_row],
        land.second[first_row:last_row],
        land.share[first_row:last_row],
        land.grain_1[first_row:last_row],
        land.grain_2[first_row:last_row],
        land.light[first_row:last_row],
        np.array(CODES, np.uint16),
        seed,
        season,
        np.sin(sun_azimuth),
        -np.cos(sun_azimuth),
        first_row,
    )


@kernel
def _line_distance(seed: int, along: float, across: float, spacing: float, winding: float) -> float:
    """Compute the distance in pixels to the nearest of a family of winding lines, in the family's own axes."""
    across += 90.0 * winding * (value_noise(seed + 1, along / 150.0, across / 900.0) - 0.5)
    across += 40.0 * winding * (value_noise(seed + 2, along / 52.0, across / 300.0) - 0.5)
    nearest = 1e9
    middle = int(np.floor(across / spacing))
    for k in range(middle - 1, middle + 2):
        bed = (k + 0.25 + 0.5 * uniform(seed + 3, k, 0)) * spacing
        bed += 0.3 * spacing * (value_noise(seed + 4 + k * 13, along / 520.0, 0.5) - 0.5)
        nearest = min(nearest, abs(across - bed))
    return nearest


@kernel
def _town(seed: int, x: float, y: float) -> tuple[float, float, float]:
    """Find the nearest town: depth inside it (1 middle … 0 edge … negative outside), angle, depth inside industry."""
    column, row = int(np.floor(x / _TOWN_SPACING)), int(np.floor(y / _TOWN_SPACING))
    depth, angle, industry = -9.0, 0.0, -9.0
    for i in range(column - 1, column + 2):
        for j in range(row - 1, row + 2):
            centre_x = (i + 0.15 + 0.7 * uniform(seed + 31, i, j)) * _TOWN_SPACING
            centre_y = (j + 0.15 + 0.7 * uniform(seed + 32, i, j)) * _TOWN_SPACING
            dx, dy = x - centre_x, y - centre_y
            if dx * dx + dy * dy > _TOWN_REACH * _TOWN_REACH:
                continue
            size = uniform(seed + 33, i, j)
            radius = 16.0 + 74.0 * size * size
            turn = uniform(seed + 34, i, j) * 3.14159
            u = dx * np.cos(turn) + dy * np.sin(turn)
            v = -dx * np.sin(turn) + dy * np.cos(turn)
            # Villages stretch along a road, towns are rounder.
            stretch = 1.0 + 1.1 * (1.0 - size)
            distance = np.sqrt(u * u / stretch + v * v * stretch)
            here = 1.0 - distance / radius
            if here > depth:
                depth, angle = here, turn
            if size > 0.42:
                side = 1.0 if uniform(seed + 35, i, j) > 0.5 else -1.0
                along = abs(u - side * radius * 0.25)
                beyond = abs(v - side * radius * 0.92)
                half = 13.0 + 0.26 * radius
                inside = min(half * 1.5 - along, half - beyond) / half
                if inside > industry:
                    industry = inside
                    if inside > 0.0:
                        angle = turn
    return depth, angle, industry


@kernel
def _farm_block(seed: int, x: float, y: float) -> tuple[int, int, float, float, float]:
    """Find the block of fields around a pixel: its cell, its site, and the distance of its border in pixels."""
    column, row = int(np.floor(x / _BLOCK_SPACING)), int(np.floor(y / _BLOCK_SPACING))
    first, second = 1e18, 1e18
    block_i, block_j, site_x, site_y = 0, 0, 0.0, 0.0
    for i in range(column - 1, column + 2):
        for j in range(row - 1, row + 2):
            centre_x = (i + uniform(seed + 41, i, j)) * _BLOCK_SPACING
            centre_y = (j + uniform(seed + 42, i, j)) * _BLOCK_SPACING
            distance = (x - centre_x) ** 2 + (y - centre_y) ** 2
            if distance < first:
                second = first
                first, block_i, block_j, site_x, site_y = distance, i, j, centre_x, centre_y
            elif distance < second:
                second = distance
    return block_i, block_j, site_x, site_y, 0.5 * (np.sqrt(second) - np.sqrt(first))


@kernel
def _class_of_farm_block(seed: int, i: int, j: int, site_x: float, site_y: float) -> int:
    """Return the class of a block of fields; neighbouring blocks tend to share it."""
    wet = value_noise(seed + 51, site_x / 300.0, site_y / 300.0) + 0.5 * (uniform(seed + 52, i, j) - 0.5)
    sunny = value_noise(seed + 53, site_x / 240.0, site_y / 240.0) + 0.5 * (uniform(seed + 54, i, j) - 0.5)
    if sunny > 0.72:
        return _ORCHARD
    if wet > 0.62:
        return _PASTURE
    return _ARABLE


@kernel
def _fill(
    truth: npt.NDArray[np.uint16],
    first: Plane,
    second: Plane,
    share: Plane,
    grain_1: npt.NDArray[np.int8],
    grain_2: npt.NDArray[np.int8],
    light: Plane,
    codes: npt.NDArray[np.uint16],
    seed: int,
    season: float,
    sun_x: float,
    sun_y: float,
    row_0: int,
) -> None:
    rows, columns = truth.shape
    heading = uniform(seed + 21, 0, 0) * 3.14159
    river_x, river_y = np.cos(heading), np.sin(heading)
    heading = uniform(seed + 26, 0, 0) * 3.14159
    road_x, road_y = np.cos(heading), np.sin(heading)
    above = np.zeros(columns)
    # One row earlier, for the slopes of the first row.
    for r in range(-1, rows):
        row = r + row_0
        y = float(row)
        west = 0.0
        for column in range(columns):
            x = float(column)
            # Natural borders are warped, field borders are straight.
            wide_x = 34.0 * (value_noise(seed + 1, x / 95.0, y / 95.0) - 0.5)
            wide_y = 34.0 * (value_noise(seed + 2, x / 95.0, y / 95.0) - 0.5)
            wx = x + wide_x + 9.0 * (value_noise(seed + 3, x / 13.0, y / 13.0) - 0.5)
            wy = y + wide_y + 9.0 * (value_noise(seed + 4, x / 13.0, y / 13.0) - 0.5)
            # Height of the land, 0…1, mean 0.5.
            relief = fractal_noise(seed + 11, wx / 420.0, wy / 420.0, 5)
            slope = 90.0 * (sun_x * (relief - west) + sun_y * (relief - above[column])) if column else 0.0
            slope = min(max(slope, -0.5), 0.5)
            west = relief
            above[column] = relief
            if r < 0:
                continue
            u, v = x + 0.6 * wide_x, y + 0.6 * wide_y
            river = _line_distance(seed + 21, u * river_x + v * river_y, v * river_x - u * river_y, _RIVER_SPACING, 1.0)
            # Two families of roads cross.
            road = _line_distance(seed + 26, x * road_x + y * road_y, y * road_x - x * road_y, _ROAD_SPACING, 0.5)
            road = min(
                road, _line_distance(seed + 27, x * road_y - y * road_x, x * road_x + y * road_y, _ROAD_SPACING, 0.6)
            )
            valley = min(river / 130.0, 1.0)
            height = relief * (0.72 + 0.28 * valley)
            moist = fractal_noise(seed + 61, wx / 230.0, wy / 230.0, 3)
            width = 3.0 + 4.0 * value_noise(seed + 62, x / 300.0, y / 300.0)
            depth, turn, industry = _town(seed, x + 0.35 * wide_x, y + 0.35 * wide_y)
            ragged = 0.0
            if depth > -1.2 or industry > -0.6:
                ragged = fractal_noise(seed + 64, x / 40.0, y / 40.0, 4) - 0.5
            # Towns grow along roads and thin out toward their edge.
            depth += 1.5 * ragged + 0.25 * max(0.0, 1.0 - road / 18.0) - 0.05
            industry += 0.9 * ragged
            wood = 0.52 * height + 0.48 * moist
            # Smooth variation inside a class, and variation of the single pixel.
            slow = value_noise(seed + 71, x / 11.0, y / 11.0) + value_noise(seed + 72, x / 5.0, y / 5.0) - 1.0
            fine_1, fine_2 = normal(seed + 73, column, row), normal(seed + 83, column, row)
            g1, g2 = 2.0 * slow + 1.2 * fine_1, 1.4 * fine_2
            shine = 1.0
            a, b, w = 0, 0, 0.0
            if river < width or (height < 0.56 and fractal_noise(seed + 63, wx / 150.0, wy / 150.0, 3) > 0.735):
                kind = _WATER
                turbid = 5.0 * value_noise(seed + 91, x / 700.0, y / 700.0)
                if river < width:
                    turbid = 0.6 + 1.6 * value_noise(seed + 92, x / 500.0, y / 500.0)
                a = int(turbid)
                b, w = a + 1, turbid - a
            elif industry > 0.0:
                kind = _INDUSTRY
                u = x * np.cos(turn) + y * np.sin(turn)
                v = -x * np.sin(turn) + y * np.cos(turn)
                # The quarter decides the size of plots.
                quarter = uniform(seed + 101, int(np.floor(u / 48.0)), int(np.floor(v / 40.0)))
                deep, broad = 7.0 + 17.0 * quarter, 6.0 + 12.0 * quarter
                i, j = int(np.floor(u / deep)), int(np.floor(v / broad))
                pu, pv = u / deep - i, v / broad - j
                h = uniform(seed + 102, i, j)
                roof = (
                    pu > 0.1 + 0.25 * uniform(seed + 103, i, j)
                    and pu < 0.95 - 0.3 * uniform(seed + 104, i, j)
                    and pv > 0.15
                    and pv < 0.95 - 0.4 * uniform(seed + 105, i, j)
                )
                if h > 0.78:
                    a, b, w = 4, 5, uniform(seed + 106, column // 3, row // 3)
                elif roof and h < 0.62:
                    tone = uniform(seed + 107, i, j)
                    a = 0 if tone > 0.5 else (1 if tone > 0.15 else 2)
                    b, w = 1, 0.6 * uniform(seed + 108, i, j)
                elif pu < 0.1 or pv < 0.1:
                    a, b, w = 3, 2, 0.6 * uniform(seed + 109, column, row)
                else:
                    a, b = 2, (4 if uniform(seed + 110, column // 2, row // 2) > 0.65 else 3)
                    w = 0.9 * uniform(seed + 161, column, row)
                g1, g2 = 0.8 * g1, 0.8 * g2
            elif depth > 0.0:
                kind = _TOWN
                # Each quarter has its own street directions.
                quarter = uniform(seed + 111, int(np.floor((x + wide_x) / 34.0)), int(np.floor((y + wide_y) / 34.0)))
                bend = turn + 0.9 * (quarter - 0.5)
                u = x * np.cos(bend) + y * np.sin(bend)
                v = -x * np.sin(bend) + y * np.cos(bend)
                i, j = int(np.floor(u / (9.0 + 6.0 * quarter))), int(np.floor(v / 6.0))
                pu, pv = u - i * (9.0 + 6.0 * quarter), v - j * 6.0
                # A house with its yard is about two pixels wide.
                house_u, house_v = int(np.floor(u / 2.3)), int(np.floor(v / 2.0))
                tone = uniform(seed + 112, house_u, house_v)
                own = uniform(seed + 113, house_u, house_v)
                built = 0.42 + 0.35 * min(depth, 1.0) + 0.9 * ragged
                if pu < 1.2 or pv < 1.2:
                    a, b, w = 2, 3, 0.2
                elif own < built:
                    a = 0 if tone > 0.65 else (1 if tone > 0.25 else 2)
                    b, w = 3, 0.25 * uniform(seed + 114, column, row)
                else:
                    a = 5 if tone > 0.55 else (4 if tone > 0.25 else 3)
                    b, w = 3, 0.3 * uniform(seed + 115, column, row)
                g1, g2 = 1.4 * g1, 2.2 * g2
            elif wood + 0.02 * (value_noise(seed + 65, x / 4.0, y / 4.0) - 0.5) > 0.535 or (
                fractal_noise(seed + 66, wx / 38.0, wy / 38.0, 2) > 0.79
            ):
                kind = _FOREST
                stand = 1.7 + 3.6 * fractal_noise(seed + 121, wx / 60.0, wy / 60.0, 3)
                stand += 1.6 * (value_noise(seed + 122, wx / 210.0, wy / 210.0) - 0.5)
                # The first two spectra are of autumn leaves.
                stand = min(max(stand, 2.0), 4.99) if season > -0.2 else min(max(stand - 1.4, 0.0), 4.99)
                a = int(stand)
                b, w = a + 1, stand - a
                g1 = 3.0 * fine_1 + 2.0 * slow
                shine = 1.0 + 0.5 * slope + 0.1 * fine_2
            elif height > 0.52:
                kind = _GRASS
                cover = 1.3 + 6.5 * (fractal_noise(seed + 131, wx / 34.0, wy / 34.0, 4) - 0.5)
                cover += 1.2 * value_noise(seed + 132, wx / 200.0, wy / 200.0) - 0.6
                g1, g2 = 1.6 * g1, 2.0 * g2
                step = min(max(cover, 0.0), 2.99)
                # The third spectrum is of deep shade: it is left out.
                a = 0 if step < 1.0 else (1 if step < 2.0 else 3)
                b = 1 if step < 1.0 else (3 if step < 2.0 else 5)
                w = step - int(step)
                if uniform(seed + 133, column // 2, row // 2) > 0.955:
                    b, w = _FOREST * _SPECTRA + 3 - _GRASS * _SPECTRA, 0.5
                shine = 1.0 + 0.4 * slope
            else:
                fx, fy = x + 0.5 * wide_x, y + 0.5 * wide_y
                block_i, block_j, site_x, site_y, border = _farm_block(seed, fx, fy)
                kind = _class_of_farm_block(seed, block_i, block_j, site_x, site_y)
                turn = uniform(seed + 141, block_i, block_j) * 3.14159
                u = (fx - site_x) * np.cos(turn) + (fy - site_y) * np.sin(turn)
                v = -(fx - site_x) * np.sin(turn) + (fy - site_y) * np.cos(turn)
                grain = uniform(seed + 142, block_i, block_j)
                long, broad = 30.0 + 60.0 * grain, 5.0 + 38.0 * grain
                if kind == _PASTURE:
                    long, broad = 20.0 + 14.0 * grain, 14.0 + 14.0 * grain
                elif kind == _ORCHARD:
                    long, broad = 12.0 + 16.0 * grain, 6.0 + 10.0 * grain
                i = int(np.floor(u / long))
                v += broad * uniform(seed + 143, block_i * 31 + i, block_j)
                j = int(np.floor(v / broad))
                field = seed + block_i * 131071 + block_j * 8191
                h = uniform(field + 144, i, j)
                edge = min(min(u - i * long, (i + 1) * long - u), min(v - j * broad, (j + 1) * broad - v))
                if kind == _ARABLE:
                    # Winter crops are green early, summer crops late; the rest is soil or stubble.
                    green = 0.45 + 0.32 * season + 0.5 * (uniform(field + 145, i, j) - 0.5)
                    stage = 5.0 * (0.7 * h + 0.3 * green) if h < 0.5 else 5.0 * (0.45 * h + 0.55 * green)
                    stage = min(max(stage, 0.0), 4.99)
                    a = int(stage)
                    # Fields are bare or green; few are half covered, which the fourth spectrum shows.
                    if a == 3 and uniform(field + 145, j, i) < 0.7:
                        a = 4 if stage > 3.4 else 2
                    b, w = a + 1, 0.05 + 0.3 * uniform(field + 146, i, j)
                    g1 = 0.55 * g1 + 0.6 * np.sin(v * 6.28318 / 2.7) * (uniform(field + 147, i, j) > 0.6)
                    g2 = 0.6 * g2
                elif kind == _ORCHARD:
                    stage = 4.99 * (0.25 * uniform(seed + 148, block_i, block_j) + 0.75 * h)
                    a = int(stage)
                    b, w = a + 1, stage - a
                    g1 = g1 + 0.9 * np.sin(v * 6.28318 / 2.3)
                else:
                    stage = 0.6 + 0.6 * season + 3.6 * h
                    stage = min(max(stage, 0.0), 2.99)
                    # Spectra 3 and 4 of pasture were taken through haze: they are left out.
                    a = 0 if stage < 1.0 else (1 if stage < 2.0 else 4)
                    b = 1 if stage < 1.0 else (4 if stage < 2.0 else 5)
                    w = stage - int(stage)
                    if edge < 0.8 and uniform(field + 149, int(u / 4.0), int(v / 4.0)) > 0.35:
                        b, w = _FOREST * _SPECTRA + 3 - kind * _SPECTRA, 0.8
                if border < 0.5 and uniform(seed + 150, block_i + block_j, 0) > 0.45:
                    b, w = _ARABLE * _SPECTRA - kind * _SPECTRA, 0.5
                shine = 1.0 + 0.10 * slope
            if kind != _WATER and river < width + 3.5 and value_noise(seed + 151, x / 9.0, y / 9.0) > 0.35:
                b, w = _FOREST * _SPECTRA + 4 - kind * _SPECTRA, 0.75
            if road < 0.75 and kind != _WATER:
                b, w = _TOWN * _SPECTRA + 1 - kind * _SPECTRA, 0.75
            truth[r, column] = codes[kind]
            first[r, column] = kind * _SPECTRA + a
            second[r, column] = kind * _SPECTRA + b
            share[r, column] = int(255.0 * min(max(w, 0.0), 1.0))
            grain_1[r, column] = int(32.0 * min(max(g1, -3.9), 3.9))
            grain_2[r, column] = int(32.0 * min(max(g2, -3.9), 3.9))
            light[r, column] = int(128.0 * min(max(shine, 0.4), 1.9))
