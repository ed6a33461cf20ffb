"""Read a scene's bands in windows: on one grid, harmonised, parts merged.

The next blocks are read while one is processed, so memory is bounded by a few blocks and a row of the files' own
blocks, not by the tile. The bands of a block are read in parallel, on as many threads as the provider allows
connections: over HTTP most of the time is waiting.
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
from earthsignature_assets.imagery.reading.band_header import check_header
from earthsignature_assets.imagery.reading.band_reader import REMEDY, BandReader, gdal_environment
from earthsignature_assets.imagery.reading.radiometry import harmonise
from earthsignature_assets.imagery.reading.resampling import bilinear, source_window
from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE
from earthsignature_assets.system.heap import share_heap_between_threads

_BLOCKS_AHEAD = 1
_BLOCK_COLUMNS, _BLOCK_COLUMNS_FROM_AFAR = 1024, 2048
"""Columns of a window in pixels: about one block of a local file, and two of a remote one to save requests."""


@dataclass(frozen=True)
class SceneBlock:
    """A window of a scene.

    Attributes:
        window: the window of the 10 m grid.
        reflectance: (bands, rows, columns) uint16, reflectance × 10000; undefined where there is no data.
        no_data: (rows, columns) bool, true where no part has an observation.
    """

    window: PixelWindow
    reflectance: npt.NDArray[np.uint16]
    no_data: npt.NDArray[np.bool_]


def block_columns(scene: Scene, patch_size: int) -> int:
    """Return the width of the windows in which a scene is read: whole patches, in pixels of 10 m."""
    columns = _BLOCK_COLUMNS_FROM_AFAR if scene.is_remote else _BLOCK_COLUMNS
    return patch_size * max(1, columns // patch_size)


def read_blocks(scene: Scene, bands: Sequence[str], rows_each: int, columns_each: int) -> Iterator[SceneBlock]:
    """Read a scene block by block, from the upper left, row after row.

    Raises:
        BandError: a band is damaged, on another CRS, does not cover the grid, or holds only zeros.
        ProviderUnavailableError: a server does not respond.
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
    """Return how many bands to read in parallel: the provider's limit, for local files at most the processors."""
    allowed = scene.parts[0].access.connections
    return allowed if scene.is_remote else min(allowed, os.cpu_count() or 1)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads; at the end, cancel pending work and wait for the rest."""
    share_heap_between_threads()
    pool = ThreadPoolExecutor(count, "band")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _PartReader:
    """The open bands of one part, of which windows are read in parallel."""

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
        """Cache size that lets each of the files' blocks be decoded once, in bytes.

        A coarser band needs two rows of blocks: interpolation reaches beyond the row under a window.
        """
        return sum(
            reader.row_of_blocks_bytes * (1 if reader.grid.resolution_m == self._grid.resolution_m else 2)
            for reader in self._readers
        )

    def start(self, window: PixelWindow) -> "_Reading":
        """Start reading a window."""
        stack = np.empty((len(self._readers), *window.shape), np.uint16)
        access, grid = self._part.access, self._grid
        reads = [
            self._pool.submit(_read_on_grid, reader, access, grid, window, layer, seen)
            for reader, layer, seen in zip(self._readers, stack, self._seen.values(), strict=True)
        ]
        return _Reading(self, stack, reads)

    def finish(self, reading: "_Reading") -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """Wait for a window; return its reflectance × 10000, and where there is no data."""
        for band, read in zip(self._seen, reading.reads, strict=True):
            self._seen[band] |= read.result()
        return reading.stack, harmonise(reading.stack, self._offsets)

    def refuse_empty_bands(self) -> None:
        """Refuse a part with an empty band: that is a damaged product, not a dark scene."""
        empty = [band for band, seen in self._seen.items() if not seen]
        if empty:
            raise BandError(
                f"item {self._part.item_id}: band {', '.join(empty)} holds only zeros "
                f"({self._part.bands[empty[0]].href}): its product is damaged; {REMEDY}"
            )


@dataclass(frozen=True)
class _Reading:
    """A window of a part that is being read: (bands, rows, columns) uint16, one read for each band."""

    part: _PartReader
    stack: npt.NDArray[np.uint16]
    reads: Sequence[Future[bool]]


def _open(part: SceneItem, band: str) -> BandReader:
    with gdal_environment(part.access):
        reader = BandReader(part.item_id, band, part.bands[band], part.access)
        try:
            check_header(reader, part, part.bands[band])
        except BandError:
            reader.close()
            raise
        return reader


def _read_on_grid(
    reader: BandReader, access: Access, grid: PixelGrid, window: PixelWindow, out: npt.NDArray[np.uint16], seen: bool
) -> bool:
    """Read a window of a band on the scene's grid; return whether it, or a window `seen` before, holds data."""
    with gdal_environment(access):
        if reader.grid.resolution_m == grid.resolution_m:
            reader.read(window, out)
        else:
            needed = source_window(reader.grid, grid, window)
            dn = reader.read(needed, np.empty(needed.shape, np.uint16))
            out[:] = bilinear(dn, needed, reader.grid, grid, window)
    return seen or bool(out.max())


def _finished(window: PixelWindow, readings: Sequence[_Reading]) -> SceneBlock:
    """Wait for a window of all parts and merge them: the earlier part wins where both saw the ground."""
    stack, no_data = readings[0].part.finish(readings[0])
    for reading in readings[1:]:
        other_stack, other_no_data = reading.part.finish(reading)
        np.copyto(stack, other_stack, where=no_data & ~other_no_data)
        no_data &= other_no_data
    return SceneBlock(window, stack, no_data)
