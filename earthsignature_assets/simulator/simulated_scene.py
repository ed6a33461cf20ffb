"""A simulated Sentinel-2 L2A scene: its recipe, and the files that Earth Search v1 would publish for it.

    <folder>/<collection>/<zone>/<band>/<square>/<year>/<month>/<item id>/
        B02.tif … B12.tif SCL.tif      cloud-optimised GeoTIFFs at native resolution
        <item id>.json                 the STAC item
        truth.tif                      CORINE level-3 code of each 10 m pixel, 0 = no data; not an asset of the item

A scene smaller than 10980 pixels is the upper-left corner of the tile's grid, and shows the same as the whole scene
there, except for clouds: their cover refers to the smaller scene.
"""

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from shapely.affinity import affine_transform

from earthsignature_assets.errors import SimulationError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator.classification import classify, percentages
from earthsignature_assets.simulator.landscape import CODES, Land, fill_land
from earthsignature_assets.simulator.noise import seed_of
from earthsignature_assets.simulator.simulated_item import BAND_ASSETS, C1, L2A, Acquisition, Observation, build_item
from earthsignature_assets.simulator.sky import Part, Sky, Sun, Swath, swath
from earthsignature_assets.simulator.surface import BandPalette, clear_reflectance, digitise
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE

_LOGGER = logging.getLogger(__name__)

FULL_SIZE = 10_980
_BLOCK_ROWS = 512
_THREADS = 2
# Bands that hold a 1 on the rim of the swath; in the others the rim is 0.
_RIM_BANDS = ("B02", "B03", "B05", "B08", "B8A")
_RESOLUTIONS = {entry.band: entry.resolution_m for entry in BAND_ASSETS}


@dataclass(frozen=True)
class SceneRecipe:
    """A description of the scene to simulate; the same recipe gives the same bytes of every file.

    Attributes:
        key: sensing day, relative orbit and tile.
        size: rows and columns at 10 m, even, 2…10980, from the tile's upper-left corner.
        seed: another seed gives another land and another sky; the land of a tile is the same on all days.
        cloud_cover: fraction of the valid area under cloud, 0…1.
        swath_edge: fraction of the scene outside the swath, 0…1: in the west for odd relative orbits, otherwise in
            the east.
        baseline: processing baseline, in the item's format (`05.11`).
        offset_applied: whether a baseline of 04.00 or later stores reflectance ρ as 10000 ρ instead of 10000 ρ + 1000
            (`earthsearch:boa_offset_applied`). As in Earth Search, `raster:bands` still says −0.1 then, and only
            `sentinel-2-l2a` has it.
        platform: `S2A`, `S2B`, `S2C`, …
        collection: `sentinel-2-c1-l2a` or `sentinel-2-l2a`.
        part: the part of the tile in this product of the datatake.
        reprocessed: number of reprocessings: a later duplicate of the same pixels.
    """

    key: SceneKey
    size: int = FULL_SIZE
    seed: int = 0
    cloud_cover: float = 0.1
    swath_edge: float = 0.0
    baseline: str = "05.11"
    offset_applied: bool = False
    platform: str = "S2B"
    collection: str = C1
    part: Part = Part.WHOLE
    reprocessed: int = 0

    def __post_init__(self) -> None:
        if self.size % 2 or not 2 <= self.size <= FULL_SIZE:
            raise SimulationError(f"{self.key}: size {self.size} must be even and within 2…{FULL_SIZE}")
        for name in ("cloud_cover", "swath_edge"):
            if not 0 <= getattr(self, name) <= 1:
                raise SimulationError(f"{self.key}: {name} {getattr(self, name)} must be a fraction, 0…1")
        if self.collection not in (C1, L2A):
            raise SimulationError(f"{self.key}: collection {self.collection!r} must be {C1} or {L2A}")
        whole, dot, fraction = self.baseline.partition(".")
        if not (dot and whole.isdigit() and fraction.isdigit()):
            raise SimulationError(f"{self.key}: baseline {self.baseline!r} must be two numbers, such as 05.11")
        if self.collection == C1 and (self.offset_applied or not self.has_offset):
            raise SimulationError(f"{self.key}: {C1} holds baselines from 05.00 with their offset: choose {L2A}")
        if self.offset_applied and not self.has_offset:
            raise SimulationError(f"{self.key}: baseline {self.baseline} has no offset that could be applied")
        if self.reprocessed < 0:
            raise SimulationError(f"{self.key}: reprocessed {self.reprocessed} must not be negative")

    @property
    def has_offset(self) -> bool:
        """Whether the baseline defines an offset of −1000 (from 04.00 on)."""
        whole, fraction = self.baseline.split(".")
        return (int(whole), int(fraction)) >= (4, 0)

    @property
    def grid(self) -> PixelGrid:
        """10 m grid of the scene.

        Raises:
            InvalidKeyError: the tile's letters do not exist in its zone.
        """
        return replace(tile_grid(self.key.tile), width=self.size, height=self.size)


@dataclass(frozen=True)
class SimulatedScene:
    """The result of a simulation: the STAC item, its folder, its file, and the truth next to it."""

    item: dict[str, Any]
    folder: Path
    truth: Path
    item_path: Path


def simulate_scene(recipe: SceneRecipe, folder: Path, base_href: str | None = None) -> SimulatedScene:
    """Write a scene to a folder, in the layout described above.

    A full scene takes minutes; progress is logged at level INFO.

    Args:
        recipe: what to simulate.
        folder: root of the layout; created if absent.
        base_href: URL of `folder`, for the hrefs of the item; without it they are absolute paths.

    Raises:
        InvalidKeyError: the tile does not exist.
        SimulationError: the swath's edge leaves nothing to observe.
    """
    grid = recipe.grid
    acquisition = Acquisition(
        recipe.key, recipe.platform, recipe.baseline, recipe.collection, recipe.part, recipe.reprocessed
    )
    target = folder.resolve() / acquisition.folder
    target.mkdir(parents=True, exist_ok=True)
    files = {band: target / f"{band}.tif" for band in (*S2_BANDS, "SCL")}
    truth = target / "truth.tif"

    cells = recipe.size // 2
    view = swath(cells, recipe.swath_edge, recipe.key.relative_orbit % 2 == 1, recipe.part)
    if not view.valid.any():
        raise SimulationError(f"{recipe.key}: {recipe.part} of the tile lies outside the swath: lower swath_edge")
    sun = Sun.at_overpass(recipe.key.day, tile_grid(recipe.key.tile).footprint().centroid.y)
    sky_seed = seed_of("sky", recipe.key, recipe.platform, recipe.seed)
    sky = Sky.over(view.valid, recipe.cloud_cover, sun, sky_seed)
    land = _land(recipe, sun)
    _LOGGER.info("%s: land and sky are made", acquisition.item_id)
    _write(truth, np.where(_doubled(view.valid), land.truth, 0).astype(np.uint16), grid, categorical=True)
    # The truth is on disk: from now on only the spectra are needed.
    aggregated = {}
    offset = 1000 if recipe.has_offset and not recipe.offset_applied else 0
    for position, band in enumerate(S2_BANDS):
        resolution = _RESOLUTIONS[band]
        numbers, at_20_m = _band(recipe, land, sky, view, position, offset)
        if band in ("B04", "B08"):
            aggregated[band] = at_20_m
        _write(files[band], numbers, grid.at_resolution(resolution))
        _LOGGER.info("%s: %s written, band %d of %d", acquisition.item_id, band, position + 1, len(S2_BANDS))
    water = land.truth[::2, ::2] == CODES[-1]
    classes = classify(view.valid, water, aggregated["B04"], aggregated["B08"], sky)
    _write(files["SCL"], classes, grid.at_resolution(20), categorical=True)

    observation = Observation(
        affine_transform(view.outline, [1, 0, 0, -1, grid.left_m, grid.top_m]),
        sun,
        percentages(classes),
        100.0 * float(np.mean(classes == 0)),
    )
    root = f"{base_href.rstrip('/')}/{acquisition.folder}" if base_href else str(target)
    hrefs = {band: f"{root}/{path.name}" for band, path in files.items()}
    raster_offset = -0.1 if recipe.has_offset else 0
    item = build_item(acquisition, grid, observation, files, hrefs, recipe.offset_applied, raster_offset)
    item_path = target / f"{acquisition.item_id}.json"
    item_path.write_text(json.dumps(item, indent=1), encoding="utf-8")
    return SimulatedScene(item, target, truth, item_path)


def _land(recipe: SceneRecipe, sun: Sun) -> Land:
    land = Land.empty(recipe.size, recipe.size)
    seed = seed_of("land", recipe.key.tile, recipe.seed)
    season = _season(recipe.key.day)
    _over_blocks(recipe.size, lambda first, last: fill_land(land, seed, season, np.radians(sun.azimuth), first, last))
    return land


def _season(day: dt.date) -> float:
    """Return the season on the northern hemisphere, −1 (mid-January) … 1 (mid-July)."""
    return float(-np.cos(2 * np.pi * (day.timetuple().tm_yday - 15) / 365.25))


def _band(
    recipe: SceneRecipe, land: Land, sky: Sky, view: Swath, position: int, offset: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Make a band's digital numbers at its resolution, and its reflectance × 10000 at 20 m, both uint16."""
    band = S2_BANDS[position]
    cells = 2 if _RESOLUTIONS[band] == 10 else 1
    side = recipe.size // 2 * cells
    numbers = np.empty((side, side), np.uint16)
    coarse = np.empty((recipe.size // 2, recipe.size // 2), np.uint16)
    palette = BandPalette.of_band(position)
    seed = seed_of("noise", recipe.key, recipe.platform, recipe.seed, band)
    rim = view.rim if band in _RIM_BANDS else np.zeros_like(view.rim)

    def make(first: int, last: int) -> None:
        fine = sky.dim(clear_reflectance(land, palette, first, last), position, first, last)
        half = (recipe.size // 2, (last - first) // 2)
        mean = np.asarray(cv2.resize(fine, half, interpolation=cv2.INTER_AREA), np.float32)
        coarse[first // 2 : last // 2] = mean + 0.5
        rows = slice(first // 2 * cells, last // 2 * cells)
        digitise(fine if cells == 2 else mean, view.valid, rim, cells, offset, seed, rows.start, numbers[rows])

    _over_blocks(recipe.size, make)
    return numbers, coarse


def _over_blocks(size: int, work: Callable[[int, int], None]) -> None:
    """Run `work(first_row, last_row)` over blocks of an even number of rows, on two threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda block: work(*block), _blocks(size)):
            pass


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, _BLOCK_ROWS):
        yield first, min(size, first + _BLOCK_ROWS)


def _doubled(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return cells.repeat(2, 0).repeat(2, 1)


def _write(path: Path, values: npt.NDArray[np.generic], grid: PixelGrid, categorical: bool = False) -> None:
    """Write a cloud-optimised GeoTIFF like Earth Search: DEFLATE, blocks of 1024, no data 0."""
    options = {
        "driver": "COG",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": values.dtype.name,
        "crs": f"EPSG:{grid.epsg}",
        "transform": grid.transform,
        "nodata": 0,
        "compress": "DEFLATE",
        "predictor": "NO" if categorical else "YES",
        "blocksize": 1024,
        "overview_resampling": "NEAREST" if categorical else "AVERAGE",
        "num_threads": _THREADS,
    }
    with BLOCK_CACHE.held(128 << 20), rasterio.open(path, "w", **options) as dataset:
        dataset.write(values, 1)
