"""The patches of a scene: a Zarr store with one chunk for each patch, readable with `xarray.open_zarr` and rioxarray.

    reflectance   uint16 (band, y, x)   reflectance × 10000, 0 = no data
    no_data       bool   (y, x)         outside the eroded swath, or defective
    unreliable    bool   (y, x)         under cloud or shadow, dilated
    overview/reflectance   uint16 (band, y, x)   every n-th pixel of the stack, for pictures

Coordinates are pixel centres in the tile's UTM zone; `spatial_ref` holds the CRS. Patches without a valid pixel
take no space. A store becomes visible by one rename.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from earthsignature_assets.errors import BandError
from earthsignature_assets.grid import PixelGrid, PixelWindow
from earthsignature_assets.system.atomic import whole_folder

_BITSHUFFLED_LZ4 = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
PATCH_SIZE = 512
_OVERVIEW_PIXELS = 640


class PatchStore:
    """The patches of one scene on disk."""

    def __init__(self, path: Path) -> None:
        """Open a store.

        Raises:
            BandError: there is no complete store at that path, or it has an earlier layout.
        """
        if not (path / "zarr.json").is_file():
            raise BandError(f"there are no patches at {path}: materialise `patches` for this scene")
        self.path = path
        self._group = zarr.open_group(path, mode="r", use_consolidated=True)
        if "overview/reflectance" not in self._group:
            raise BandError(f"the patches at {path} have an earlier layout: materialise `patches` for this scene again")
        self._reflectance = self._array("reflectance")
        self._no_data = self._array("no_data")
        self._unreliable = self._array("unreliable")
        self.grid = PixelGrid(**_facts(self._group)["grid"])
        self.patch_size = self._no_data.chunks[0]

    @property
    def bands(self) -> tuple[str, ...]:
        """Sentinel-2 band names, in the order of the stack."""
        return tuple(_facts(self._group)["bands"])

    @property
    def level(self) -> str:
        """Processing level of the reflectance, `L2A` or `L1C`, from the product's name."""
        return str(_facts(self._group)["product_id"]).split("_")[1].removeprefix("MSI")

    def reflectance(self, rows: slice, columns: slice = slice(None)) -> npt.NDArray[np.uint16]:
        """Read the reflectance × 10000 of a window: (bands, rows, columns) uint16, 0 = no data."""
        return np.asarray(self._reflectance[:, rows, columns], np.uint16)

    def no_data(self, rows: slice = slice(None), columns: slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Read where nothing was observed: (rows, columns) bool."""
        return np.asarray(self._no_data[rows, columns], bool)

    def unreliable(self, rows: slice = slice(None), columns: slice = slice(None)) -> npt.NDArray[np.bool_]:
        """Read where cloud or shadow covers the ground: (rows, columns) bool."""
        return np.asarray(self._unreliable[rows, columns], bool)

    def overview(self) -> npt.NDArray[np.uint16]:
        """Read every n-th pixel of the stack, about 640 pixels on the longest side: (bands, height, width) uint16."""
        return np.asarray(self._array("overview/reflectance")[:], np.uint16)

    def clear_overview(self) -> npt.NDArray[np.uint16]:
        """Read the overview's pixels that show the ground, without no data, cloud and shadow: (bands, n) uint16.

        This is a regular sample of the scene that does not need the full stack.
        """
        step = slice(None, None, self.overview_step)
        hidden = np.asarray(self._no_data[step, step], bool) | np.asarray(self._unreliable[step, step], bool)
        return self.overview()[:, ~hidden]

    @property
    def overview_step(self) -> int:
        """Step between the pixels of the overview."""
        return _overview_step(self.grid)

    @property
    def size_bytes(self) -> int:
        """Size of the store on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)  # noqa: S101 - narrows the type; the layout is ours
        return array


class PatchWriter:
    """A writer of one scene's patches, in windows of whole patches."""

    def __init__(self, group: zarr.Group, grid: PixelGrid, bands: Sequence[str], patch_size: int) -> None:
        self._group, self._grid, self._bands, self._patch_size = group, grid, bands, patch_size
        _write_coordinates(group, grid, bands)
        self._reflectance = _create_reflectance(group, (len(bands), *grid.shape), (len(bands), patch_size, patch_size))
        self._no_data, self._unreliable = (
            group.create_array(
                name,
                shape=grid.shape,
                chunks=(patch_size, patch_size),
                dtype="bool",
                fill_value=missing,
                compressors=_BITSHUFFLED_LZ4,
                dimension_names=("y", "x"),
                attributes={"grid_mapping": "spatial_ref", "long_name": meaning},
            )
            for name, missing, meaning in (
                ("no_data", True, "nothing observed"),
                ("unreliable", False, "under cloud or shadow"),
            )
        )
        self._step = _overview_step(grid)
        self._overview = np.zeros((len(bands), *(-(-side // self._step) for side in grid.shape)), np.uint16)

    def write(
        self,
        window: PixelWindow,
        reflectance: npt.NDArray[np.uint16],
        no_data: npt.NDArray[np.bool_],
        unreliable: npt.NDArray[np.bool_],
    ) -> int:
        """Write a window of whole patches; patches without a valid pixel are left out.

        Args:
            window: the window of the grid; it starts at a patch, and ends at one or at the grid's edge.
            reflectance: (bands, rows, columns) uint16.
            no_data: (rows, columns) bool.
            unreliable: (rows, columns) bool.

        Returns:
            The number of patches written.
        """
        written = 0
        for patch in window.split(self._patch_size, self._patch_size):
            part = patch.within(window)
            if not no_data[part.index].all():
                self._reflectance[:, *patch.index] = reflectance[:, *part.index]
                self._no_data[patch.index] = no_data[part.index]
                self._unreliable[patch.index] = unreliable[part.index]
                written += 1
        row, column = (-(-side.start // self._step) for side in window.index)
        seen = reflectance[
            :,
            row * self._step - window.rows.start :: self._step,
            column * self._step - window.columns.start :: self._step,
        ]
        self._overview[:, row : row + seen.shape[1], column : column + seen.shape[2]] = seen
        return written

    def finish(self) -> None:
        """Write the overview, gathered from all windows."""
        group = self._group.create_group("overview")
        _write_coordinates(group, self._grid, self._bands, self._step)
        _create_reflectance(group, self._overview.shape, self._overview.shape)[:] = self._overview


@contextmanager
def create_patch_store(
    path: Path, grid: PixelGrid, bands: Sequence[str], patch_size: int = PATCH_SIZE, **facts: str
) -> Iterator[PatchWriter]:
    """Write a store, which appears at `path` if the block succeeds; otherwise an earlier store stays.

    Args:
        path: path of the store; an earlier one is replaced.
        grid: the 10 m grid.
        bands: Sentinel-2 band names, in the order of the stack.
        patch_size: side of a patch in pixels.
        facts: further attributes of the store (scene key, product).

    Raises:
        StoreUnavailableError: the store cannot be written.
    """
    with whole_folder(path) as partial:
        group = zarr.open_group(partial, mode="w")
        group.attrs["earthsignature"] = {"grid": asdict(grid), "bands": list(bands), **facts}
        writer = PatchWriter(group, grid, bands, patch_size)
        yield writer
        writer.finish()
        with warnings.catch_warnings():
            # The Zarr 3 specification does not cover consolidated metadata yet; zarr and xarray both read it.
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(partial)


def _create_reflectance(group: zarr.Group, shape: tuple[int, ...], chunks: tuple[int, ...]) -> zarr.Array[Any]:
    """Create a stack's array with `nodata`, which rioxarray reads; for `_FillValue` xarray would convert to float."""
    return group.create_array(
        "reflectance",
        shape=shape,
        chunks=chunks,
        dtype="uint16",
        fill_value=0,
        compressors=_BITSHUFFLED_LZ4,
        dimension_names=("band", "y", "x"),
        attributes={"grid_mapping": "spatial_ref", "long_name": "reflectance × 10000", "nodata": 0},
        # Patches without data are never written; zarr's own search for empty chunks costs as much as the encoding.
        config={"write_empty_chunks": True},
    )


def _write_coordinates(group: zarr.Group, grid: PixelGrid, bands: Sequence[str], step: int = 1) -> None:
    """Write the coordinates for xarray and rioxarray: bands, centres of each n-th pixel, the CRS for CF and GDAL."""
    west, south, east, north = grid.bounds
    half = grid.resolution_m / 2
    y = np.linspace(north - half, south + half, grid.height)[::step]
    x = np.linspace(west + half, east - half, grid.width)[::step]
    axes = {axis["axis"].lower(): axis for axis in grid.crs.cs_to_cf()}
    for name, values in (("band", np.array(bands, np.dtypes.StringDType())), ("y", y), ("x", x)):
        group.create_array(
            name, data=values, chunks=values.shape, dimension_names=(name,), attributes=axes.get(name, {})
        )
    attributes = grid.crs.to_cf() | {"spatial_ref": grid.crs.to_wkt()}
    group.create_array("spatial_ref", shape=(), dtype="int64", fill_value=0, attributes=attributes)
    group.attrs["coordinates"] = "spatial_ref"


def _overview_step(grid: PixelGrid) -> int:
    return -(-max(grid.shape) // _OVERVIEW_PIXELS)


def _facts(group: zarr.Group) -> dict[str, Any]:
    facts = group.attrs["earthsignature"]
    assert isinstance(facts, dict)  # noqa: S101 - narrows the type; the layout is ours
    return facts
