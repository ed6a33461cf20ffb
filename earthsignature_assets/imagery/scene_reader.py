"""Read a scene's bands in blocks of rows: on one grid, harmonised, parts laid together.

While one block is worked on the next is being read, so memory is bounded by two blocks and not by the tile. The bands
of a block are read at once, on as many threads as the provider allows connections: over HTTP most of it is waiting.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import BandError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.access import Access
from earthsignature_assets.imagery.band_reader import BandReader, gdal_environment
from earthsignature_assets.imagery.radiometry import no_data_of, reflectance
from earthsignature_assets.imagery.resampling import bilinear, source_rows
from earthsignature_assets.imagery.scene import Scene, SceneItem


@dataclass(frozen=True)
class SceneBlock:
    """Rows of a scene, full width.

    Attributes:
        rows: which rows of the 10 m grid.
        reflectance: (bands, rows, width) uint16, reflectance × 10000; what it holds where there is no data is nothing.
        no_data: (rows, width) bool, where no part holds an observation.
    """

    rows: slice
    reflectance: npt.NDArray[np.uint16]
    no_data: npt.NDArray[np.bool_]


def read_blocks(scene: Scene, bands: Sequence[str], rows_each: int) -> Iterator[SceneBlock]:
    """Read a scene block by block, from the top.

    Raises:
        BandError: a band is damaged, on another CRS, does not cover the grid, or holds nothing but zeros.
        ProviderUnavailableError: a server does not answer.
        CredentialError: the provider needs a credential that is not in the environment.
    """
    grid = scene.grid
    blocks = [slice(row, min(row + rows_each, grid.height)) for row in range(0, grid.height, rows_each)]
    with (
        ExitStack() as stack,
        ThreadPoolExecutor(scene.parts[0].access.connections, "band") as pool,
    ):
        parts = [_PartReader(stack, pool, part, bands, grid) for part in scene.parts]
        pending = [part.start(blocks[0]) for part in parts]
        for index, rows in enumerate(blocks):
            read = [part.finish(futures) for part, futures in zip(parts, pending, strict=True)]
            if index + 1 < len(blocks):
                pending = [part.start(blocks[index + 1]) for part in parts]
            yield _laid_together(rows, read)
        for part in parts:
            part.refuse_empty_bands()


class _PartReader:
    """The open bands of one part; reads rows of all of them at once."""

    def __init__(
        self, stack: ExitStack, pool: ThreadPoolExecutor, part: SceneItem, bands: Sequence[str], grid: PixelGrid
    ) -> None:
        self._pool, self._grid, self._part = pool, grid, part
        self._offsets = [part.bands[band].offset_dn for band in bands]
        self._seen = dict.fromkeys(bands, False)
        opened = [pool.submit(_open, part, band) for band in bands]
        self._readers = [stack.enter_context(future.result()) for future in opened]

    def start(self, rows: slice) -> list[Future[npt.NDArray[np.uint16]]]:
        access = self._part.access
        return [self._pool.submit(_read_on_grid, reader, access, self._grid, rows) for reader in self._readers]

    def finish(
        self, futures: list[Future[npt.NDArray[np.uint16]]]
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        stack = np.empty((0, 0, 0), np.uint16)
        for layer, band in enumerate(self._seen):
            # Taken out of the list, a future lets its array go: one copy of the block is held, not two.
            dn = futures.pop(0).result()
            if layer == 0:
                stack = np.empty((len(self._seen), *dn.shape), np.uint16)
            stack[layer] = dn
            self._seen[band] = self._seen[band] or bool(dn.any())
        no_data = no_data_of(list(stack), self._offsets)
        for numbers, offset_dn in zip(stack, self._offsets, strict=True):
            reflectance(numbers, offset_dn, out=numbers)
        return stack, no_data

    def refuse_empty_bands(self) -> None:
        """Refuse a part of which a band held nothing: that is a damaged product, not a dark scene."""
        empty = [band for band, seen in self._seen.items() if not seen]
        if empty:
            raise BandError(
                f"item {self._part.item_id}: band {', '.join(empty)} holds nothing but zeros "
                f"({self._part.bands[empty[0]].href}): its product is damaged; materialise `discovered_items` of "
                f"{self._part.key.day} again once the provider has replaced it"
            )


def _open(part: SceneItem, band: str) -> BandReader:
    with gdal_environment(part.access):
        reader = BandReader(part.item_id, band, part.bands[band].href, part.access)
        check_grid(reader, part)
        return reader


def _read_on_grid(reader: BandReader, access: Access, grid: PixelGrid, rows: slice) -> npt.NDArray[np.uint16]:
    with gdal_environment(access):
        if reader.grid.resolution_m == grid.resolution_m:
            return reader.read(rows)
        needed = source_rows(reader.grid, grid, rows)
        return bilinear(reader.read(needed), needed, reader.grid, grid, rows)


def check_grid(reader: BandReader, part: SceneItem) -> None:
    """Refuse a band that is not the item's: another CRS, another size, or ground that it does not cover.

    Raises:
        BandError: the band is not the item's.
    """
    named = f"item {part.item_id}: band {reader.band} ({reader.href})"
    remedy = f"; once the provider has mended it, materialise `discovered_items` of {part.key.day} again"
    if reader.grid.epsg != part.grid.epsg:
        raise BandError(f"{named} is in EPSG:{reader.grid.epsg}, the item says EPSG:{part.grid.epsg}{remedy}")
    if reader.grid.resolution_m == part.grid.resolution_m and reader.grid != part.grid:
        raise BandError(f"{named} has the grid {reader.grid}, the item says {part.grid}{remedy}")
    # A coarser band may start or end within one of its own pixels of the item's grid, as in crops.
    slack = reader.grid.resolution_m
    west, south, east, north = part.grid.bounds
    has_west, has_south, has_east, has_north = reader.grid.bounds
    if has_west > west + slack or has_south > south + slack or has_east < east - slack or has_north < north - slack:
        raise BandError(f"{named} covers {reader.grid.bounds}, the item's grid is {part.grid.bounds} (metres){remedy}")


def _laid_together(rows: slice, parts: Sequence[tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]]) -> SceneBlock:
    """Lay parts over each other: the earlier wins where both saw the ground."""
    stack, no_data = parts[0]
    for other_stack, other_no_data in parts[1:]:
        fill = no_data & ~other_no_data
        stack[:, fill] = other_stack[:, fill]
        no_data = no_data & other_no_data
    return SceneBlock(rows, stack, no_data)
