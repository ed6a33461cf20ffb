"""Chips of a training set: cut from images that are read window by window, or whole patches of one label each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.label_scheme import LabelScheme
from earthsignature_assets.ground_truth.training_set import Chip
from earthsignature_assets.ground_truth.truth_raster import Remark, TruthRaster
from earthsignature_assets.sentinel2 import S2_BANDS


class Image(Protocol):
    """A scene, or a part of one, on a 10 m grid."""

    @property
    def name(self) -> str:
        """Unique in a set."""

    @property
    def level(self) -> str:
        """`L1C` or `L2A`."""

    @property
    def region(self) -> str:
        """The region named by the recipe, or empty."""

    @property
    def grid(self) -> PixelGrid:
        """The 10 m grid."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Origin of the image, for the report of the set."""

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
        """Read a window of reflectance × 10000: (10, rows, columns) uint16, 0 = no data."""
        ...

    def hidden(self) -> npt.NDArray[np.bool_]:
        """Return the pixels without ground (no data, cloud, shadow): (height, width) bool."""
        ...


@dataclass(frozen=True, eq=False)
class BandFiles:
    """An image in files: a folder of `B02.tif` … `B12.tif`, or one raster of the ten bands in that order.

    The grid is that of B02; bands on another grid are resampled bilinearly. `offset` is added once to every observed
    value (−1000 for files of processing baseline 04.00 and later that still include the offset).
    """

    path: Path
    level: str
    name: str
    region: str = ""
    offset: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def grid(self) -> PixelGrid:
        """The 10 m grid.

        Raises:
            GroundTruthError: a file is missing, has no CRS, or is not north-up on square pixels of an EPSG code.
        """
        try:
            with rasterio.open(self._files[0][0]) as source:
                epsg = source.crs.to_epsg() if source.crs else None
                a, b, left, d, e, top = tuple(source.transform)[:6]
                if epsg is None or not source.crs.is_projected:
                    raise GroundTruthError(f"{source.name}: a projected CRS with an EPSG code is needed")
                if b or d or a != -e:
                    raise GroundTruthError(f"{source.name}: the grid is not north-up with square pixels")
                return PixelGrid(epsg, left, top, a, source.width, source.height)
        except RasterioIOError as error:
            raise GroundTruthError(f"{self.path} cannot be read: {error}") from error

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
        """Read a window, see `Image`."""
        return _strip(self, rows.start, rows.stop)[:, :, columns]

    def hidden(self) -> npt.NDArray[np.bool_]:
        """Return the pixels that are 0 in every band, see `Image`."""
        step = 512
        rows = (slice(top, min(top + step, self.grid.height)) for top in range(0, self.grid.height, step))
        return np.concatenate([self.read(part, slice(None)).max(axis=0) == 0 for part in rows])

    @cached_property
    def _files(self) -> list[tuple[Path, int]]:
        if not self.path.is_dir():
            return [(self.path, number) for number in range(1, len(S2_BANDS) + 1)]
        files = [(self.path / f"{band}.tif", 1) for band in S2_BANDS]
        if missing := [file.name for file, _ in files if not file.is_file()]:
            raise GroundTruthError(f"{self.path} lacks {', '.join(missing)}")
        return files

    def load(self, first: int, last: int) -> npt.NDArray[np.uint16]:
        """Read rows `first` to `last` - 1 in full width: (10, rows, width) uint16.

        Raises:
            GroundTruthError: a file cannot be read, or has too few bands.
        """
        grid = self.grid
        stack = np.empty((len(S2_BANDS), last - first, grid.width), np.uint16)
        window = rasterio.windows.Window(0, first, grid.width, last - first)
        try:
            for band, (file, number) in enumerate(self._files):
                with ExitStack() as opened:
                    source = opened.enter_context(rasterio.open(file))
                    if number > source.count:
                        raise GroundTruthError(f"{file} has {source.count} bands, expected ten")
                    warped = opened.enter_context(
                        WarpedVRT(
                            source,
                            crs=grid.crs.to_wkt(),
                            transform=grid.transform,
                            width=grid.width,
                            height=grid.height,
                            resampling=Resampling.bilinear,
                        )
                    )
                    values = warped.read(number, window=window).astype(np.int64)
                observed = values > 0
                stack[band] = np.where(observed, np.clip(values + self.offset, 1, 65535), 0)
        except RasterioIOError as error:
            raise GroundTruthError(f"{self.path} cannot be read: {error}") from error
        return stack


@lru_cache(maxsize=2)
def _strip(image: BandFiles, first: int, last: int) -> npt.NDArray[np.uint16]:
    """Read the rows that one row of chips shares, once for all of them."""
    return image.load(first, last)


def scene_chips(image: Image, truth: TruthRaster, side: int, margin: int, fewest_pixels: int) -> Iterator[Chip]:
    """Cut an image into chips that hold labels.

    Chips tile the image in squares of `side` pixels; `margin` more pixels on every side show the surroundings without
    labels.

    Args:
        image: the image.
        truth: what its pixels are.
        side: side of the labelled square, in pixels.
        margin: width of the surroundings, in pixels.
        fewest_pixels: a chip with fewer labelled pixels is left out.
    """
    grid = image.grid
    for top in range(0, grid.height, side):
        for left in range(0, grid.width, side):
            own = slice(top, min(top + side, grid.height)), slice(left, min(left + side, grid.width))
            if np.count_nonzero(truth.codes[own]) < max(1, fewest_pixels):
                continue
            rows, columns = (
                slice(max(0, part.start - margin), min(part.stop + margin, length))
                for part, length in zip(own, grid.shape, strict=True)
            )
            around = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
            around[
                own[0].start - rows.start : own[0].stop - rows.start,
                own[1].start - columns.start : own[1].stop - columns.start,
            ] = False
            step = grid.resolution_m
            yield Chip(
                name=f"{image.name}/{top}_{left}",
                image=image.name,
                level=image.level,
                region=image.region,
                label="",
                row=rows.start,
                column=columns.start,
                epsg=grid.epsg,
                affine=(step, 0.0, grid.left_m + columns.start * step, 0.0, -step, grid.top_m - rows.start * step),
                truth=truth.window(rows, columns).masked(around),
                read=partial(image.read, rows, columns),
            )


def patch_chips(
    folder: Path, scheme: LabelScheme, bands: Sequence[int], level: str, region: str = ""
) -> tuple[list[Chip], list[Remark]]:
    """Read patches that carry one label each: `<folder>/<label>/<name>.tif`, the layout of EuroSAT.

    Args:
        folder: a folder of folders named for their label.
        scheme: the meaning of the labels.
        bands: positions of the ten bands in a file, from 1, in the order of `S2_BANDS`.
        level: "L1C" or "L2A".
        region: the region named by the recipe.

    Returns:
        The chips, and remarks on the labels that were left out.

    Raises:
        GroundTruthError: there is no patch, or one lacks bands or an EPSG code.
    """
    chips, remarks = [], []
    for labelled in sorted(path for path in folder.glob("*") if path.is_dir()):
        files = sorted(labelled.glob("*.tif"))
        statement = scheme.statement(labelled.name)
        if statement is None and files:
            known = "names no CORINE class" if scheme.knows(labelled.name) else f"is not in the scheme {scheme.name}"
            note = scheme.notes.get(labelled.name, "")
            reason = f"label {labelled.name} {known}" + (f" ({note})" if note else "")
            remarks.append(Remark(folder.name, reason, len(files), "patches"))
        if statement is None:
            continue
        for file in files:
            try:
                with rasterio.open(file) as source:
                    epsg = source.crs.to_epsg() if source.crs else None
                    if epsg is None or source.count < max(bands):
                        raise GroundTruthError(f"{file}: {max(bands)} bands and an EPSG code are needed")
                    shape, affine = source.shape, tuple(source.transform)[:6]
            except RasterioIOError as error:
                raise GroundTruthError(f"{file} cannot be read: {error}") from error
            chips.append(
                Chip(
                    name=f"{folder.name}/{file.stem}",
                    image=folder.name,
                    level=level,
                    region=region,
                    label=labelled.name,
                    row=0,
                    column=0,
                    epsg=epsg,
                    affine=affine,
                    truth=TruthRaster.of(np.ones(shape, np.uint16), [statement]),
                    read=partial(_read_patch, file, bands),
                )
            )
    if not chips:
        raise GroundTruthError(f"{folder} holds no labelled patch: expected <label>/<name>.tif")
    return chips, remarks


def _read_patch(file: Path, bands: Sequence[int]) -> npt.NDArray[np.uint16]:
    with rasterio.open(file) as source:
        reflectance: npt.NDArray[np.uint16] = source.read(list(bands)).astype(np.uint16)
    return reflectance
