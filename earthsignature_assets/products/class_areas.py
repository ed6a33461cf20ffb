"""The area of each class within a polygon, counted on the pixels of published rasters: each place once.

Of every pixel the newest clear observation counts. Tiles overlap by up to 10 km and share one grid within a UTM zone,
so there a place is one pixel in all of them; a place that tiles of two zones show is counted in one of the zones.
"""

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from pyproj import Geod, Transformer
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ProductError, QueryError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.nomenclature import NO_DATA
from earthsignature_assets.products.product import Asset, Product

MAX_PIXELS = 600_000_000
"""Pixels that one summary may read: five full tiles, or a district of 50 km for half a year."""

_BLOCK = 2048
_LONGEST_EDGE_DEGREES = 0.005  # a straight line in degrees bends by less than a centimetre over 500 m
_GDAL_CACHE_MB = 64  # the default grows to a twentieth of the memory
_ELLIPSOID = Geod(ellps="WGS84")

ReadAsset = Callable[[Product, Asset], bytes]


@dataclass
class PixelBudget:
    """What may still be read, in pixels; all summaries of one question share it."""

    pixels: int = MAX_PIXELS

    def spend(self, pixels: int) -> None:
        """Take pixels from the budget.

        Raises:
            QueryError: there are not as many left.
        """
        self.pixels -= pixels
        if self.pixels < 0:
            raise QueryError(
                "wkt",
                f"this area and period take more than {MAX_PIXELS // 1_000_000} million pixels to sum up; ask for a "
                "smaller area or a shorter period",
            )


@dataclass(frozen=True)
class ClassAreas:
    """What the newest clear observation of each pixel says within one area and period.

    Attributes:
        area_m2: the polygon's own area on the ellipsoid.
        observed_m2: area of the pixels that were seen without cloud, in the tiles' projection, whose scale differs
            from the ellipsoid's by up to a thousandth.
        cloudy_m2: area of the pixels that were seen under cloud only.
        by_class: area of each CORINE level-3 code; their sum is `observed_m2`.
        products: what was read, newest first.
    """

    area_m2: float
    observed_m2: float
    cloudy_m2: float
    by_class: dict[int, float]
    products: tuple[Product, ...]


@dataclass
class _Counts:
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1000, np.int64))
    cloudy: int = 0
    pixel_area_m2: float = 100.0


def class_areas(
    area: BaseGeometry,
    products: Sequence[Product],
    read: ReadAsset,
    budget: PixelBudget,
    stopped: Callable[[], bool] = lambda: False,
) -> ClassAreas:
    """Sum up the classes of an area. Holds one block of 2048 x 2048 pixels and one product's files at a time.

    Args:
        area: polygonal, EPSG:4326.
        products: what to read, newest first; those that do not meet the area are left out.
        read: gives a file of a product.
        budget: what may be read.
        stopped: asked between blocks; once true, the work ends with what there is.

    Raises:
        QueryError: the work would exceed the budget; most often that is known before anything is read.
        ProductError: a raster is damaged, or off the grid that its zone's tiles share.
        StoreUnavailableError: a file cannot be read.
    """
    whole = shapely.union_all(area)  # parts may overlap each other
    meeting = tuple(product for product in products if whole.intersects(product.footprint))
    _check_extent(whole, meeting, budget)
    by_zone: dict[int, list[Product]] = {}
    for product in meeting:
        by_zone.setdefault(tile_grid(product.scene.tile).epsg, []).append(product)
    counts, left = _Counts(), whole
    with rasterio.Env(GDAL_CACHEMAX=_GDAL_CACHE_MB):
        for epsg, of_zone in sorted(by_zone.items(), key=lambda entry: (-len(entry[1]), entry[0])):
            _count_zone(counts, left, epsg, of_zone, read, budget, stopped)
            left = _polygonal(left.difference(shapely.union_all([product.footprint for product in of_zone])))
    areas_m2 = counts.pixels * counts.pixel_area_m2
    return ClassAreas(
        area_m2=abs(_ELLIPSOID.geometry_area_perimeter(shapely.orient_polygons(whole))[0]),
        observed_m2=float(areas_m2.sum()),
        cloudy_m2=counts.cloudy * counts.pixel_area_m2,
        by_class={int(code): float(areas_m2[code]) for code in np.flatnonzero(counts.pixels)},
        products=meeting,
    )


def periods(products: Sequence[Product], period_of: Callable[[dt.datetime], object]) -> Iterator[list[Product]]:
    """Products by period of acquisition, the earliest first; within each the order stays.

    Args:
        products: in order of acquisition, either way.
        period_of: tells apart the periods, such as `lambda moment: moment.year`.
    """
    groups = [list(group) for _, group in itertools.groupby(products, lambda product: period_of(product.sensed_at))]
    return iter(sorted(groups, key=lambda group: min(product.sensed_at for product in group)))


def _check_extent(area: BaseGeometry, products: Sequence[Product], budget: PixelBudget) -> None:
    """Refuse at once what could never be within the budget: it would be read for seconds before."""
    overlaps = [area.intersection(product.footprint) for product in products]
    pixels = sum(abs(_ELLIPSOID.geometry_area_perimeter(shapely.orient_polygons(part))[0]) / 100 for part in overlaps)
    PixelBudget(budget.pixels).spend(int(pixels))


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Without the points and lines that cutting leaves where borders touch."""
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


def _count_zone(
    counts: _Counts,
    area: BaseGeometry,
    epsg: int,
    products: Sequence[Product],
    read: ReadAsset,
    budget: PixelBudget,
    stopped: Callable[[], bool],
) -> None:
    here = [product for product in products if area.intersects(product.footprint)]
    if not here:
        return
    # No more than the products may show: the area of a continent is not walked through block by block. From here on
    # the area is only drawn, not cut: projected, narrow parts may cross themselves by a hair.
    extent = shapely.box(*shapely.union_all([product.footprint for product in here]).buffer(0.05).bounds)
    project = Transformer.from_crs(4326, epsg, always_xy=True).transform
    # One by one: GEOS repairs what it densifies, and of parts that touch each other it drops some.
    parts = shapely.segmentize(shapely.get_parts(_polygonal(area.intersection(extent))), _LONGEST_EDGE_DEGREES)
    if not len(parts):
        return
    metres = shapely.transform(
        shapely.MultiPolygon(list(parts)), lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1]))
    )
    resolution_m = tile_grid(here[0].scene.tile).resolution_m
    west, south, east, north = np.array(metres.bounds) / resolution_m
    for top in range(int(np.ceil(north)), int(np.floor(south)), -_BLOCK):
        for left in range(int(np.floor(west)), int(np.ceil(east)), _BLOCK):
            if stopped():
                return
            _count_block(counts, metres, left, top, resolution_m, epsg, here, read, budget)


def _count_block(
    counts: _Counts,
    area: BaseGeometry,
    left: int,
    top: int,
    resolution_m: float,
    epsg: int,
    products: Sequence[Product],
    read: ReadAsset,
    budget: PixelBudget,
) -> None:
    """Count the block whose upper-left corner is (left, top) pixels from the zone's origin."""
    transform = rasterio.Affine(resolution_m, 0, left * resolution_m, 0, -resolution_m, top * resolution_m)
    unseen = geometry_mask([area], (_BLOCK, _BLOCK), transform, invert=True)
    cloudy = np.zeros_like(unseen)
    for product in products:
        if not unseen.any():
            break
        found = _window(product, left, top, resolution_m, epsg, read, budget)
        if found is None:
            continue
        rows, columns, codes, cloud = found
        wanted = unseen[rows, columns] & (codes != NO_DATA)
        clear = wanted & ~cloud
        counts.pixels += np.bincount(codes[clear], minlength=1000)[:1000]
        cloudy[rows, columns] |= wanted & cloud
        unseen[rows, columns] &= ~clear
    counts.cloudy += int((cloudy & unseen).sum())
    counts.pixel_area_m2 = resolution_m**2


def _window(
    product: Product, left: int, top: int, resolution_m: float, epsg: int, read: ReadAsset, budget: PixelBudget
) -> tuple[slice, slice, npt.NDArray[np.uint16], npt.NDArray[np.bool_]] | None:
    """Codes and cloud of a product within a block, and where in the block they lie; None if they do not meet."""
    name = f"{product.product_id}: {Asset.LAND_COVER}"
    try:
        with rasterio.MemoryFile(read(product, Asset.LAND_COVER)) as file, file.open() as raster:
            grid = raster.transform
            column, row = grid.c / resolution_m - left, top - grid.f / resolution_m
            if (
                raster.crs.to_epsg() != epsg
                or (grid.a, grid.e) != (resolution_m, -resolution_m)
                or column % 1
                or row % 1
            ):
                raise ProductError(f"{name} is not on the {resolution_m:g} m grid of EPSG:{epsg}; publish it again")
            rows = slice(max(0, int(row)), min(_BLOCK, int(row) + raster.height))
            columns = slice(max(0, int(column)), min(_BLOCK, int(column) + raster.width))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                return None
            window = Window(
                columns.start - int(column), rows.start - int(row), columns.stop - columns.start, rows.stop - rows.start
            )
            budget.spend(window.width * window.height)
            codes = raster.read(1, window=window)
        if codes.max(initial=0) >= 1000:
            raise ProductError(f"{name} holds {codes.max()}, which is no CORINE code; publish it again")
        return rows, columns, codes, _cloud(product, window, read)
    except rasterio.errors.RasterioError as error:
        raise ProductError(f"{name} cannot be read: {error}; publish it again") from error


def _cloud(product: Product, window: Window, read: ReadAsset) -> npt.NDArray[np.bool_]:
    """The cloud mask under a window of the land cover, on its grid: each of the mask's pixels is 2 x 2 of it."""
    top, left = int(window.row_off), int(window.col_off)
    bottom, right = top + int(window.height), left + int(window.width)
    coarse = Window(left // 2, top // 2, -(-right // 2) - left // 2, -(-bottom // 2) - top // 2)
    with rasterio.MemoryFile(read(product, Asset.CLOUD_MASK)) as file, file.open() as raster:
        mask = raster.read(1, window=coarse) == 1
    fine: npt.NDArray[np.bool_] = mask.repeat(2, axis=0).repeat(2, axis=1)[top % 2 :, left % 2 :]
    return fine[: bottom - top, : right - left]
