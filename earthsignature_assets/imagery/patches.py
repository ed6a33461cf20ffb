"""From a scene's bands to its patches: read, harmonise, resample, mask, split.

Rows of patches stream through: while one is compressed the next is being read, so memory is bounded by two rows of
patches and not by the tile.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import BandError, ItemError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.band_reader import BandReader, gdal_environment
from earthsignature_assets.imagery.cloud_mask import SceneMask, mask_scene
from earthsignature_assets.imagery.patch_store import PATCH_SIZE, create_patch_store
from earthsignature_assets.imagery.radiometry import no_data_of, reflectance
from earthsignature_assets.imagery.resampling import bilinear, nearest, source_rows
from earthsignature_assets.imagery.scene import Scene, SceneItem

_READ_THREADS = 4
"""More than cores: over HTTP most of the time is waiting."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PatchSummary:
    """What `write_patches` did."""

    valid_pixels: int
    pixels: int
    patches_with_data: int
    patches: int
    seconds: float


@dataclass(frozen=True)
class _Rows:
    reflectance: npt.NDArray[np.uint16]
    no_data: npt.NDArray[np.bool_]


def read_scene_mask(scene: Scene) -> tuple[SceneMask, PixelGrid]:
    """Read a scene's classification and turn it into masks on its own grid (20 m).

    Parts of a split scene are laid over each other where the earlier has no data.

    Raises:
        ItemError: an item has no classification.
        BandError: a classification is damaged, or on another grid than the first part's.
        ProviderUnavailableError: its server does not answer.
    """
    with gdal_environment():
        layers = [_read_classification(part) for part in scene.parts]
    classification, grid = layers[0]
    for part, (values, part_grid) in zip(scene.parts[1:], layers[1:], strict=True):
        if part_grid != grid:
            raise BandError(f"item {part.item_id}: band SCL has the grid {part_grid}, the scene's other part {grid}")
        classification = np.where(classification == 0, values, classification)
    return mask_scene(np.minimum(classification, 255).astype(np.uint8), grid.resolution_m), grid


def _read_classification(part: SceneItem) -> tuple[npt.NDArray[np.uint16], PixelGrid]:
    if part.classification is None:
        raise ItemError(
            f"item {part.item_id} has no scene classification (SCL), so its clouds cannot be told: "
            "choose a collection of level L2A"
        )
    with BandReader(part.item_id, "SCL", part.classification) as reader:
        _check_grid(reader, part)
        return reader.read(slice(0, reader.grid.height)), reader.grid


def write_patches(
    scene: Scene,
    bands: Sequence[str],
    path: Path,
    patch_size: int = PATCH_SIZE,
    progress: Progress | None = None,
) -> PatchSummary:
    """Read a scene's bands and write its patch store.

    Args:
        scene: the scene; every part holds every band.
        bands: the order of the stack.
        path: where the store shall be.
        patch_size: side of a patch in pixels.
        progress: called with the rows done and the rows in all.

    Raises:
        BandError: a band is damaged, on another CRS, or does not cover the grid.
        ItemError: an item has no classification.
        ProviderUnavailableError: a server does not answer.
    """
    started = time.monotonic()
    grid = scene.grid
    mask, mask_grid = read_scene_mask(scene)
    blocks = [slice(row, min(row + patch_size, grid.height)) for row in range(0, grid.height, patch_size)]
    valid = patches_with_data = 0
    facts = {"scene": str(scene.key), "product_id": scene.product_id}
    with (
        ExitStack() as stack,
        ThreadPoolExecutor(_READ_THREADS, "band") as pool,
        create_patch_store(path, grid, bands, patch_size, **facts) as writer,
    ):
        parts = [_PartReader(stack, pool, part, bands, grid) for part in scene.parts]
        pending = [part.start(blocks[0]) for part in parts]
        for index, rows in enumerate(blocks):
            read = [part.finish(futures) for part, futures in zip(parts, pending, strict=True)]
            if index + 1 < len(blocks):
                pending = [part.start(blocks[index + 1]) for part in parts]
            block = _mosaic(read)
            no_data = block.no_data | nearest(mask.no_data, mask_grid, grid, rows)
            block.reflectance[:, no_data] = 0
            unreliable = nearest(mask.unreliable, mask_grid, grid, rows) & ~no_data
            writer.write(rows, block.reflectance, no_data, unreliable)
            valid += int(np.count_nonzero(~no_data))
            patches_with_data += sum(
                not no_data[:, column : column + patch_size].all() for column in range(0, grid.width, patch_size)
            )
            if progress:
                progress(rows.stop, grid.height)
    return PatchSummary(
        valid_pixels=valid,
        pixels=grid.width * grid.height,
        patches_with_data=patches_with_data,
        patches=len(blocks) * -(-grid.width // patch_size),
        seconds=time.monotonic() - started,
    )


class _PartReader:
    """The open bands of one part; reads rows of all of them at once."""

    def __init__(
        self, stack: ExitStack, pool: ThreadPoolExecutor, part: SceneItem, bands: Sequence[str], grid: PixelGrid
    ) -> None:
        self._pool, self._grid = pool, grid
        self._offsets = [part.bands[band].offset_dn for band in bands]
        opened = [pool.submit(_open, part, band) for band in bands]
        self._readers = [stack.enter_context(future.result()) for future in opened]

    def start(self, rows: slice) -> list[Future[npt.NDArray[np.uint16]]]:
        return [self._pool.submit(_read_on_grid, reader, self._grid, rows) for reader in self._readers]

    def finish(self, futures: list[Future[npt.NDArray[np.uint16]]]) -> _Rows:
        digital_numbers = [future.result() for future in futures]
        no_data = no_data_of(digital_numbers, self._offsets)
        pairs = zip(digital_numbers, self._offsets, strict=True)
        return _Rows(np.stack([reflectance(dn, offset) for dn, offset in pairs]), no_data)


def _open(part: SceneItem, band: str) -> BandReader:
    with gdal_environment():
        reader = BandReader(part.item_id, band, part.bands[band].href)
        _check_grid(reader, part)
        return reader


def _read_on_grid(reader: BandReader, grid: PixelGrid, rows: slice) -> npt.NDArray[np.uint16]:
    with gdal_environment():
        if reader.grid.resolution_m == grid.resolution_m:
            return reader.read(rows)
        needed = source_rows(reader.grid, grid, rows)
        return bilinear(reader.read(needed), needed, reader.grid, grid, rows)


def _check_grid(reader: BandReader, part: SceneItem) -> None:
    """Refuse a band that is not the item's: another CRS, another size, or ground that it does not cover."""
    named = f"item {part.item_id}: band {reader.band} ({reader.href})"
    if reader.grid.epsg != part.grid.epsg:
        raise BandError(f"{named} is in EPSG:{reader.grid.epsg}, the item says EPSG:{part.grid.epsg}")
    if reader.grid.resolution_m == part.grid.resolution_m and reader.grid != part.grid:
        raise BandError(f"{named} has the grid {reader.grid}, the item says {part.grid}")
    # A coarser band may start or end within one of its own pixels of the item's grid, as in crops.
    slack = reader.grid.resolution_m
    west, south, east, north = part.grid.bounds
    has_west, has_south, has_east, has_north = reader.grid.bounds
    if has_west > west + slack or has_south > south + slack or has_east < east - slack or has_north < north - slack:
        raise BandError(f"{named} covers {reader.grid.bounds}, the item's grid is {part.grid.bounds} (metres)")


def _mosaic(parts: Sequence[_Rows]) -> _Rows:
    first = parts[0]
    for other in parts[1:]:
        fill = first.no_data & ~other.no_data
        first.reflectance[:, fill] = other.reflectance[:, fill]
        first = _Rows(first.reflectance, first.no_data & other.no_data)
    return first
