"""Sources of ground truth: polygons and points of any OGR source, and class rasters, rasterised on a scene's grid.

Nothing is dropped silently: a remark gives the reason for everything that was left out or altered.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import rasterio
import shapely
from pyogrio.errors import DataSourceError
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.label_scheme import LabelScheme, Statement, label_text
from earthsignature_assets.ground_truth.samples import VOID
from earthsignature_assets.ground_truth.truth_raster import Remark, TruthRaster, burn, remarked

_POLYGONAL = ("Polygon", "MultiPolygon")


class TruthSource(Protocol):
    """A source that labels the pixels of a grid."""

    @property
    def name(self) -> str:
        """Name in reports."""

    @property
    def scheme(self) -> LabelScheme:
        """Meaning of its labels."""

    @property
    def licence(self) -> str:
        """Licence of the source; empty where the recipe gives none."""

    def on(self, grid: PixelGrid) -> tuple[TruthRaster, list[Remark]]:
        """Rasterise the labels on a grid; return the raster and remarks on the labels that were left out.

        Raises:
            GroundTruthError: the source cannot be read, has no CRS, or lacks the field.
        """
        ...


@dataclass(frozen=True)
class Polygons:
    """Polygons of any OGR source.

    `column` holds the label; an empty `layer` means the first one; `crs` is for files without a CRS.
    """

    path: Path
    name: str
    column: str
    scheme: LabelScheme
    layer: str = ""
    crs: str = ""
    licence: str = ""

    def on(self, grid: PixelGrid) -> tuple[TruthRaster, list[Remark]]:
        """Rasterise the polygons; invalid ones are repaired, with a remark."""
        name = self.name
        frame, remarks = _features(self.path, self.layer, self.column, self.crs, name, grid)
        geometry = frame.geometry
        flat = geometry.geom_type.isin(_POLYGONAL)
        remarks += remarked(name, "not a polygon", int((~flat).sum()), "polygons")
        frame, geometry = frame[flat], geometry[flat]
        invalid = ~geometry.is_valid
        repaired = geometry.where(~invalid, shapely.make_valid(geometry.to_numpy()))
        empty = repaired.area == 0
        remarks += remarked(name, "invalid, repaired and used", int((invalid & ~empty).sum()), "polygons")
        remarks += remarked(name, "invalid and without area after the repair", int(empty.sum()), "polygons")
        labels = [label_text(value) for value in frame[self.column][~empty]]
        statements, without_class = _statements(labels, self.scheme, name, "polygons")
        shapes: dict[Statement, list[Any]] = {}
        for shape, statement in zip(repaired[~empty], statements, strict=True):
            if statement is not None:
                shapes.setdefault(statement, []).append(shape)
        truth, contradicting = burn(shapes, grid)
        remarks += without_class
        remarks += remarked(name, "polygons with contradicting labels overlap", contradicting, "pixels")
        return truth, remarks


@dataclass(frozen=True)
class Points:
    """Points of any OGR source, or of a CSV file with two coordinate columns: each labels the pixel under it."""

    path: Path
    name: str
    column: str
    scheme: LabelScheme
    layer: str = ""
    crs: str = ""
    x_column: str = ""
    y_column: str = ""
    licence: str = ""

    def on(self, grid: PixelGrid) -> tuple[TruthRaster, list[Remark]]:
        """Label the pixel under each point; a pixel whose points contradict each other is void."""
        name = self.name
        frame, remarks = _features(
            self.path, self.layer, self.column, self.crs, name, grid, (self.x_column, self.y_column)
        )
        dots = frame.geometry.geom_type == "Point"
        remarks += remarked(name, "not a point", int((~dots).sum()), "points")
        frame = frame[dots]
        labels = [label_text(value) for value in frame[self.column]]
        of_points, without_class = _statements(labels, self.scheme, name, "points")
        columns, rows = ~grid.transform @ (frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
        statements = sorted({statement for statement in of_points if statement})
        index = np.zeros(grid.shape, np.uint16)
        contradicting = np.zeros(grid.shape, bool)
        for row, column, statement in zip(rows.astype(int), columns.astype(int), of_points, strict=True):
            if statement is None:
                continue
            number = statements.index(statement) + 1
            contradicting[row, column] |= index[row, column] not in (VOID, number)
            index[row, column] = number
        index[contradicting] = VOID
        remarks += without_class
        remarks += remarked(
            name, "points with contradicting labels share a pixel", int(np.count_nonzero(contradicting)), "pixels"
        )
        return TruthRaster.of(index, statements), remarks


@dataclass(frozen=True)
class ClassRaster:
    """A raster of class values in any CRS and resolution, resampled to the grid by nearest neighbour."""

    path: Path
    name: str
    scheme: LabelScheme
    band: int = 1
    crs: str = ""
    licence: str = ""

    def on(self, grid: PixelGrid) -> tuple[TruthRaster, list[Remark]]:
        """Resample the raster to the grid."""
        name = self.name
        values, known = self._read(grid)
        labels = [int(value) for value in np.unique(values[known])]
        statements = sorted({statement for label in labels if (statement := self.scheme.statement(str(label)))})
        index = np.zeros(grid.shape, np.uint16)
        remarks = []
        for label in labels:
            where = known & (values == label)
            statement = self.scheme.statement(str(label))
            if statement is None:
                reason = _without_class(str(label), self.scheme)
                remarks += remarked(name, reason, int(np.count_nonzero(where)), "pixels")
            else:
                index[where] = statements.index(statement) + 1
        return TruthRaster.of(index, statements), remarks

    def _read(self, grid: PixelGrid) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        options: dict[str, Any] = {"crs": grid.crs.to_wkt(), "transform": grid.transform}
        try:
            with rasterio.open(self.path) as source:
                if source.crs is None and not self.crs:
                    raise GroundTruthError(f"{self.path} has no CRS: set crs")
                if self.band > source.count:
                    raise GroundTruthError(f"{self.path} has no band {self.band}, only {source.count}")
                if np.dtype(source.dtypes[self.band - 1]).kind not in "ui":
                    raise GroundTruthError(
                        f"{self.path}: band {self.band} does not hold integers, so it has no classes"
                    )
                with WarpedVRT(
                    source,
                    src_crs=self.crs or source.crs,
                    resampling=Resampling.nearest,
                    width=grid.width,
                    height=grid.height,
                    # Pixels outside the raster must differ from its class 0.
                    add_alpha=source.nodata is None,
                    **options,
                ) as warped:
                    return warped.read(self.band), warped.read_masks(self.band) > 0
        except RasterioIOError as error:
            raise GroundTruthError(f"{self.path} cannot be read: {error}") from error


def _features(
    path: Path,
    layer: str,
    column: str,
    crs: str,
    name: str,
    grid: PixelGrid,
    coordinates: tuple[str, str] = ("", ""),
) -> tuple[Any, list[Remark]]:
    """Read the features within a grid in its CRS, and remark on those outside or without geometry."""
    frame = _table(path, coordinates, crs) if any(coordinates) else _layer(path, layer, crs, grid)
    if column not in frame.columns:
        known = ", ".join(str(other) for other in frame.columns if other != "geometry")
        raise GroundTruthError(f"{path} has no field {column!r}: it has {known}")
    total = frame.attrs.get("features", len(frame))
    there = ~(frame.geometry.isna() | frame.geometry.is_empty)
    frame = frame[there].to_crs(grid.crs)
    inside = frame.intersects(shapely.box(*grid.bounds))
    if (frame.geometry.geom_type == "Point").any():
        west, south, east, north = grid.bounds
        inside &= frame.bounds.eval(f"minx >= {west} and minx < {east} and miny > {south} and miny <= {north}")
    without = int((~there).sum())
    what = "points" if any(coordinates) or set(frame.geometry.geom_type) == {"Point"} else "polygons"
    remarks = remarked(name, "without geometry", without, what)
    remarks += remarked(name, "outside the image", total - int(inside.sum()) - without, what)
    return frame[inside], remarks


def _layer(path: Path, layer: str, crs: str, grid: PixelGrid) -> Any:
    try:
        known = pyogrio.read_info(path, layer=layer or None)
        if not (own := crs or known["crs"]):
            raise GroundTruthError(f"{path} has no CRS: set crs")
        area = geopandas.GeoSeries([grid.footprint()], crs=4326).to_crs(own)
        frame = pyogrio.read_dataframe(path, layer=layer or None, bbox=tuple(area.total_bounds))
    except DataSourceError as error:
        raise GroundTruthError(f"{path} cannot be read: {error}") from error
    if frame.crs is None or crs:
        frame = frame.set_crs(own, allow_override=True)
    if "geometry" not in frame.columns:
        raise GroundTruthError(f"{path} has no geometry")
    frame.attrs["features"] = known["features"]
    return frame


def _table(path: Path, coordinates: tuple[str, str], crs: str) -> Any:
    try:
        table = pd.read_csv(path, dtype=str, encoding_errors="replace")
    except (OSError, ValueError) as error:
        raise GroundTruthError(f"{path} cannot be read: {error}") from error
    if missing := [name for name in coordinates if name not in table.columns]:
        raise GroundTruthError(
            f"{path} has no column {', '.join(map(repr, missing))}: it has {', '.join(map(str, table.columns))}"
        )
    x, y = (pd.to_numeric(table[name], errors="coerce") for name in coordinates)
    points = geopandas.points_from_xy(x, y)
    points[(x.isna() | y.isna()).to_numpy()] = None
    return geopandas.GeoDataFrame(table, geometry=points, crs=crs or "EPSG:4326")


def _statements(
    labels: Sequence[str], scheme: LabelScheme, name: str, what: str
) -> tuple[list[Statement | None], list[Remark]]:
    """Return the statement of each label, and remarks on the labels that have none."""
    statements = [scheme.statement(label) for label in labels]
    silent = Counter(label for label, statement in zip(labels, statements, strict=True) if statement is None)
    remarks = [Remark(name, _without_class(label, scheme), count, what) for label, count in sorted(silent.items())]
    return statements, remarks


def _without_class(label: str, scheme: LabelScheme) -> str:
    if not scheme.knows(label):
        return f"label {label} is not in the scheme {scheme.name}"
    note = scheme.notes.get(label)
    return f"label {label} names no CORINE class" + (f" ({note})" if note else "")
