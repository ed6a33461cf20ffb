"""Area of each class within a polygon, counted on the pixels of published rasters, each place once.

The newest clear observation of each pixel counts. Tiles overlap by up to 10 km but share one grid within a UTM zone,
so a place is the same pixel in all of them; a place in tiles of two zones is counted in one zone only.
"""

import datetime as dt
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import shapely
from pyproj import Geod, Transformer
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import ProductError, QueryError
from earthsignature_assets.grid import tile_grid
from earthsignature_assets.nomenclature import CODES, NO_DATA
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE

MAX_PIXELS = 600_000_000
"""Largest number of pixels that one summary may read: five full tiles, or a district of 50 km for half a year."""

_BLOCK = 2048
_LONGEST_EDGE_DEGREES = 0.005  # a straight line in degrees bends by less than a centimetre over 500 m
_ELLIPSOID = Geod(ellps="WGS84")

ReadAsset = Callable[[Product, Asset], bytes]


@dataclass
class PixelBudget:
    """Number of pixels that may still be read; all summaries of one query share it."""

    pixels: int = MAX_PIXELS

    def spend(self, pixels: int) -> None:
        """Take pixels from the budget.

        Raises:
            QueryError: fewer are left.
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
    """Class areas by the newest clear observation of each pixel within one area and period.

    Attributes:
        area_m2: the polygon's own area on the ellipsoid.
        observed_m2: area of the pixels with a clear observation, in the tiles' projection, whose scale differs from
            the ellipsoid's by up to a thousandth.
        cloudy_m2: area of the pixels with cloudy observations only.
        by_class: area of each CORINE level-3 code; the sum is `observed_m2`.
        products: the products read, newest first.
    """

    area_m2: float
    observed_m2: float
    cloudy_m2: float
    by_class: dict[int, float]
    products: tuple[Product, ...]


@dataclass
class _Counts:
    """Numbers of pixels by code, and of pixels with cloudy observations only."""

    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(CODES[-1] + 1, np.int64))
    cloudy: int = 0
    resolution_m: float = 10.0


def class_areas(
    area: BaseGeometry,
    products: Sequence[Product],
    read: ReadAsset,
    budget: PixelBudget,
    stopped: Callable[[], bool] = lambda: False,
) -> ClassAreas:
    """Sum up the class areas in a polygon; memory holds one block of 2048 x 2048 pixels and one product's files.

    Args:
        area: polygonal, EPSG:4326.
        products: the products to read, newest first; those outside the area are skipped.
        read: reads a file of a product.
        budget: the pixels that may be read.
        stopped: called between blocks; if true, the result so far is returned.

    Raises:
        QueryError: the budget does not suffice; usually detected before reading.
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
    with BLOCK_CACHE.held():
        for epsg, of_zone in sorted(by_zone.items(), key=lambda entry: (-len(entry[1]), entry[0])):
            _count_zone(counts, left, epsg, of_zone, read, budget, stopped)
            left = _polygonal(left.difference(shapely.union_all([product.footprint for product in of_zone])))
    areas_m2 = counts.pixels * counts.resolution_m**2
    return ClassAreas(
        area_m2=abs(_ELLIPSOID.geometry_area_perimeter(shapely.orient_polygons(whole))[0]),
        observed_m2=float(areas_m2.sum()),
        cloudy_m2=counts.cloudy * counts.resolution_m**2,
        by_class={int(code): float(areas_m2[code]) for code in np.flatnonzero(counts.pixels)},
        products=meeting,
    )


def periods(products: Sequence[Product], period_of: Callable[[dt.datetime], object]) -> Iterator[list[Product]]:
    """Group products by period of acquisition, the earliest first; within each the order stays.

    Args:
        products: the products, in ascending or descending order of acquisition.
        period_of: maps a time to its period, such as `lambda moment: moment.year`.
    """
    groups = [list(group) for _, group in itertools.groupby(products, lambda product: period_of(product.sensed_at))]
    return iter(sorted(groups, key=lambda group: min(product.sensed_at for product in group)))


def _check_extent(area: BaseGeometry, products: Sequence[Product], budget: PixelBudget) -> None:
    """Refuse a query that must exceed the budget before reading for seconds."""
    overlaps = [area.intersection(product.footprint) for product in products]
    pixels = sum(abs(_ELLIPSOID.geometry_area_perimeter(shapely.orient_polygons(part))[0]) / 100 for part in overlaps)
    PixelBudget(budget.pixels).spend(int(pixels))


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Drop the points and lines that an intersection leaves where borders touch."""
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


@dataclass(frozen=True)
class _Placed:
    """A product and the pixels that its raster covers, counted right and down from the origin of its UTM zone."""

    product: Product
    left: int
    top: int
    width: int
    height: int

    def meets(self, left: int, top: int) -> bool:
        """Tell whether the product meets the block with this corner."""
        return (
            self.left < left + _BLOCK
            and left < self.left + self.width
            and self.top < top + _BLOCK
            and top < self.top + self.height
        )


def _count_zone(
    counts: _Counts,
    area: BaseGeometry,
    epsg: int,
    products: Sequence[Product],
    read: ReadAsset,
    budget: PixelBudget,
    stopped: Callable[[], bool],
) -> None:
    resolution_m = counts.resolution_m
    here = [
        _placed(product, epsg, resolution_m, read)
        for product in products
        if area.intersects(product.footprint) and not stopped()
    ]
    # One by one: GEOS repairs a geometry that it densifies, and drops some of several touching parts. From now on the
    # area is only rasterised: after projection, narrow parts may slightly cross themselves.
    extent = shapely.box(*shapely.union_all([product.footprint for product in products]).buffer(0.05).bounds)
    parts = shapely.segmentize(shapely.get_parts(_polygonal(area.intersection(extent))), _LONGEST_EDGE_DEGREES)
    if not here or not len(parts):
        return
    project = Transformer.from_crs(4326, epsg, always_xy=True).transform
    metres = shapely.transform(
        shapely.MultiPolygon(list(parts)), lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1]))
    )
    west, south, east, north = np.array(metres.bounds) / resolution_m
    for top in range(math.floor(-north), math.ceil(-south), _BLOCK):
        for left in range(math.floor(west), math.ceil(east), _BLOCK):
            # Most of a wide area lies between the products: blocks that no product meets are skipped.
            meeting = [placed for placed in here if placed.meets(left, top)]
            if stopped():
                return
            if meeting:
                _count_block(counts, metres, left, top, meeting, read, budget)


def _placed(product: Product, epsg: int, resolution_m: float, read: ReadAsset) -> _Placed:
    with _open(product, Asset.LAND_COVER, read) as raster:
        grid = raster.transform
        left, top = grid.c / resolution_m, -grid.f / resolution_m
        if raster.crs.to_epsg() != epsg or (grid.a, grid.e) != (resolution_m, -resolution_m) or left % 1 or top % 1:
            raise ProductError(
                f"{product.product_id}: {Asset.LAND_COVER} is not on the {resolution_m:g} m grid of EPSG:{epsg}; "
                "publish it again"
            )
        return _Placed(product, int(left), int(top), raster.width, raster.height)


def _count_block(
    counts: _Counts,
    area: BaseGeometry,
    left: int,
    top: int,
    products: Sequence[_Placed],
    read: ReadAsset,
    budget: PixelBudget,
) -> None:
    """Count a block; `left` and `top` are the pixels from the zone's origin to its upper-left corner."""
    size_m = counts.resolution_m
    transform = rasterio.Affine(size_m, 0, left * size_m, 0, -size_m, -top * size_m)
    unseen = geometry_mask([area], (_BLOCK, _BLOCK), transform, invert=True)
    cloudy = np.zeros_like(unseen)
    for placed in products:
        if not unseen.any():
            break
        rows = slice(max(0, placed.top - top), min(_BLOCK, placed.top + placed.height - top))
        columns = slice(max(0, placed.left - left), min(_BLOCK, placed.left + placed.width - left))
        if not unseen[rows, columns].any():
            continue
        window = Window(
            columns.start + left - placed.left,
            rows.start + top - placed.top,
            columns.stop - columns.start,
            rows.stop - rows.start,
        )
        budget.spend(window.width * window.height)
        codes, cloud = _codes(placed.product, window, read), _cloud(placed.product, window, read)
        wanted = unseen[rows, columns] & (codes != NO_DATA)
        clear = wanted & ~cloud
        counts.pixels += np.bincount(codes[clear], minlength=len(counts.pixels))
        cloudy[rows, columns] |= wanted & cloud
        unseen[rows, columns] &= ~clear
    counts.cloudy += int((cloudy & unseen).sum())


def _codes(product: Product, window: Window, read: ReadAsset) -> npt.NDArray[np.uint16]:
    with _open(product, Asset.LAND_COVER, read) as raster:
        codes: npt.NDArray[np.uint16] = raster.read(1, window=window)
    if codes.max(initial=0) > CODES[-1]:
        raise ProductError(
            f"{product.product_id}: {Asset.LAND_COVER} holds {codes.max()}, which is not a CORINE code; republish it"
        )
    return codes


def _cloud(product: Product, window: Window, read: ReadAsset) -> npt.NDArray[np.bool_]:
    """Read the cloud mask for a window of the land cover, on its grid: a mask pixel covers 2 x 2 pixels."""
    top, left = int(window.row_off), int(window.col_off)
    bottom, right = top + int(window.height), left + int(window.width)
    coarse = Window(left // 2, top // 2, -(-right // 2) - left // 2, -(-bottom // 2) - top // 2)
    with _open(product, Asset.CLOUD_MASK, read) as raster:
        mask = raster.read(1, window=coarse) == 1
    fine: npt.NDArray[np.bool_] = mask.repeat(2, axis=0).repeat(2, axis=1)[top % 2 :, left % 2 :]
    return fine[: bottom - top, : right - left]


@contextmanager
def _open(product: Product, asset: Asset, read: ReadAsset) -> Iterator[rasterio.DatasetReader]:
    try:
        with rasterio.MemoryFile(read(product, asset)) as file, file.open() as raster:
            yield raster
    except rasterio.errors.RasterioError as error:
        raise ProductError(f"{product.product_id}: {asset} cannot be read: {error}; publish it again") from error
