"""Read a scene's bands in windows: on one grid, harmonised, parts laid together.

While one block is worked on the next ones are being read, so memory is bounded by a few blocks and a row of the files'
own blocks, and not by the tile. The bands of a block are read at once, on as many threads as the provider allows
connections: over HTTP most of it is waiting.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import BandError
from earthsignature_assets.grid import PixelGrid, PixelWindow
from earthsignature_assets.imagery.providers.access import Access
from earthsignature_assets.imagery.reading.band_reader import REMEDY, BandReader, gdal_environment
from earthsignature_assets.imagery.reading.radiometry import harmonise
from earthsignature_assets.imagery.reading.resampling import bilinear, source_window
from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE
from earthsignature_assets.system.heap import share_heap_between_threads

_BLOCKS_AHEAD = 1
_BLOCK_COLUMNS, _BLOCK_COLUMNS_FROM_AFAR = 1024, 2048
"""Pixels of a window: about one block of a file, and two of them where each request to a server takes its time."""


@dataclass(frozen=True)
class SceneBlock:
    """A window of a scene.

    Attributes:
        window: what of the 10 m grid.
        reflectance: (bands, rows, columns) uint16, reflectance × 10000; where there is no data it means nothing.
        no_data: (rows, columns) bool, where no part holds an observation.
    """

    window: PixelWindow
    reflectance: npt.NDArray[np.uint16]
    no_data: npt.NDArray[np.bool_]


def block_columns(scene: Scene, patch_size: int) -> int:
    """How wide a window of a scene is read at once: whole patches, in pixels of 10 m."""
    columns = _BLOCK_COLUMNS_FROM_AFAR if scene.is_remote else _BLOCK_COLUMNS
    return patch_size * max(1, columns // patch_size)


def read_blocks(scene: Scene, bands: Sequence[str], rows_each: int, columns_each: int) -> Iterator[SceneBlock]:
    """Read a scene block by block, from the upper left, row after row.

    Raises:
        BandError: a band is damaged, on another CRS, does not cover the grid, or holds nothing but zeros.
        ProviderUnavailableError: a server does not answer.
        CredentialError: the provider needs a credential that is not in the environment.
    """
    grid = scene.grid
    with ExitStack() as files, _threads(_connections(scene)) as pool:
        parts = [_PartReader(files, pool, part, bands, grid) for part in scene.parts]
        files.enter_context(BLOCK_CACHE.held(sum(part.cache_bytes for part in parts)))
        pending: deque[tuple[PixelWindow, list[_Reading]]] = deque()
        for window in grid.whole.split(rows_each, columns_each):
            pending.append((window, [part.start(window) for part in parts]))
            if len(pending) > _BLOCKS_AHEAD:
                yield _finished(*pending.popleft())
        while pending:
            yield _finished(*pending.popleft())
        for part in parts:
            part.refuse_empty_bands()


def _connections(scene: Scene) -> int:
    """How many bands are read at once: as many as the provider allows, of local files as many as can be decoded."""
    allowed = scene.parts[0].access.connections
    return allowed if scene.is_remote else min(allowed, os.cpu_count() or 1)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are waited for at the end; what they have not begun then is let go."""
    share_heap_between_threads()
    pool = ThreadPoolExecutor(count, "band")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _PartReader:
    """The open bands of one part; reads a window of all of them at once."""

    def __init__(
        self, files: ExitStack, pool: ThreadPoolExecutor, part: SceneItem, bands: Sequence[str], grid: PixelGrid
    ) -> None:
        self._pool, self._grid, self._part = pool, grid, part
        self._offsets = [part.bands[band].offset_dn for band in bands]
        self._seen = dict.fromkeys(bands, False)
        opened = [pool.submit(_open, part, band) for band in bands]
        self._readers = [files.enter_context(future.result()) for future in opened]

    @property
    def cache_bytes(self) -> int:
        """What lets each of the files' blocks be decoded once.

        Of a coarser band two rows of blocks: interpolation looks beyond the one that lies under a window.
        """
        return sum(
            reader.row_of_blocks_bytes * (1 if reader.grid.resolution_m == self._grid.resolution_m else 2)
            for reader in self._readers
        )

    def start(self, window: PixelWindow) -> "_Reading":
        """Let a window be read."""
        stack = np.empty((len(self._readers), *window.shape), np.uint16)
        access, grid = self._part.access, self._grid
        reads = [
            self._pool.submit(_read_on_grid, reader, access, grid, window, layer, seen)
            for reader, layer, seen in zip(self._readers, stack, self._seen.values(), strict=True)
        ]
        return _Reading(self, stack, reads)

    def finish(self, reading: "_Reading") -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """Wait for a window: its reflectance × 10000, and where there is no data."""
        for band, read in zip(self._seen, reading.reads, strict=True):
            self._seen[band] |= read.result()
        return reading.stack, harmonise(reading.stack, self._offsets)

    def refuse_empty_bands(self) -> None:
        """Refuse a part of which a band held nothing: that is a damaged product, not a dark scene."""
        empty = [band for band, seen in self._seen.items() if not seen]
        if empty:
            raise BandError(
                f"item {self._part.item_id}: band {', '.join(empty)} holds nothing but zeros "
                f"({self._part.bands[empty[0]].href}): its product is damaged; {REMEDY}"
            )


@dataclass(frozen=True)
class _Reading:
    """A window of a part that is being read: (bands, rows, columns) uint16, one read a band."""

    part: _PartReader
    stack: npt.NDArray[np.uint16]
    reads: Sequence[Future[bool]]


def _open(part: SceneItem, band: str) -> BandReader:
    with gdal_environment(part.access):
        reader = BandReader(part.item_id, band, part.bands[band].href, part.access)
        check_grid(reader, part)
        return reader


def _read_on_grid(
    reader: BandReader, access: Access, grid: PixelGrid, window: PixelWindow, out: npt.NDArray[np.uint16], seen: bool
) -> bool:
    """Read a window of a band onto the scene's grid; returns whether it, or what was `seen` before, holds anything."""
    with gdal_environment(access):
        if reader.grid.resolution_m == grid.resolution_m:
            reader.read(window, out)
        else:
            needed = source_window(reader.grid, grid, window)
            dn = reader.read(needed, np.empty(needed.shape, np.uint16))
            out[:] = bilinear(dn, needed, reader.grid, grid, window)
    return seen or bool(out.max())


def check_grid(reader: BandReader, part: SceneItem) -> None:
    """Refuse a band that is not the item's: another CRS, another size, or ground that it does not cover.

    Raises:
        BandError: the band is not the item's.
    """
    named = f"item {part.item_id}: band {reader.band} ({reader.href})"
    if reader.grid.epsg != part.grid.epsg:
        raise BandError(f"{named} is in EPSG:{reader.grid.epsg}, the item says EPSG:{part.grid.epsg}; {REMEDY}")
    if reader.grid.resolution_m == part.grid.resolution_m and reader.grid != part.grid:
        raise BandError(f"{named} has the grid {reader.grid}, the item says {part.grid}; {REMEDY}")
    # A coarser band may start or end within one of its own pixels of the item's grid, as in crops.
    slack = reader.grid.resolution_m
    west, south, east, north = part.grid.bounds
    has_west, has_south, has_east, has_north = reader.grid.bounds
    if has_west > west + slack or has_south > south + slack or has_east < east - slack or has_north < north - slack:
        raise BandError(
            f"{named} covers {reader.grid.bounds}, the item's grid is {part.grid.bounds} (metres); {REMEDY}"
        )


def _finished(window: PixelWindow, readings: Sequence[_Reading]) -> SceneBlock:
    """Wait for a window of all parts and lay them over each other: the earlier wins where both saw the ground."""
    stack, no_data = readings[0].part.finish(readings[0])
    for reading in readings[1:]:
        other_stack, other_no_data = reading.part.finish(reading)
        np.copyto(stack, other_stack, where=no_data & ~other_no_data)
        no_data &= other_no_data
    return SceneBlock(window, stack, no_data)
