"""From a CreateProduct request to a published product, in a process of its own.

What strangers send is decoded here and not in the server: a file that breaks GDAL, eats the memory or never ends takes
this process with it, and nothing else. `earthsignature_grpc.creator` starts it.

The facts of the product are properties of the Geobuf in the request, of its one Feature or of its FeatureCollection:
`product_id` and `model`, and if known `sensed_at`, `cloud_cover`, `confidence` (percent) and `source` (a URL).
"""

import contextlib
import datetime as dt
import json
import math
import os
import pickle
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
import shapely
from pyproj import Transformer
from rasterio.enums import MergeAlg
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import (
    AlreadyExistsError,
    EarthSignatureError,
    InvalidKeyError,
    ProductError,
    QueryError,
    ServiceAnswerError,
    StoreUnavailableError,
)
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion, SceneKey, parse_product_id, relative_orbit_of
from earthsignature_assets.nomenclature import NO_DATA, known_codes
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.geobuf import encode_feature_collection
from earthsignature_assets.products.geoparquet import write_geoparquet
from earthsignature_assets.products.polygon_layer import PolygonLayer
from earthsignature_assets.products.polygons import land_cover_polygons
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, Asset
from earthsignature_assets.products.raster import write_cloud_mask, write_confidence, write_land_cover
from earthsignature_assets.products.store import ProductStore
from earthsignature_assets.products.thumbnail import write_thumbnail
from earthsignature_grpc.descriptors import wire_class
from earthsignature_grpc.geobuf import read_frame
from earthsignature_grpc.wire import parse_strictly

MEMORY_BYTES = 12 << 30
CPU_S = 600

_PRODUCT_TYPES = {"MSIL1C": "S2MSI1C", "MSIL2A": "S2MSI2A"}
_NEST_M = 20.0  # the grids of land cover and cloud mask begin at the same corners
_ROUNDING_M = 1.0  # what coordinates of six decimals may stand out of their grid
_MOST_OVERLAP = 0.01
_OUTLINE_PIXELS = 16


@dataclass(frozen=True)
class Facts:
    """What a request says of its product; `field` is where it says it."""

    field: str
    product_id: str
    model: ModelVersion
    sensed_at: dt.datetime
    cloud_cover_percent: float | None
    confidence_percent: int
    source: str

    @property
    def tile(self) -> str:
        """The MGRS tile that the product name carries."""
        return self.product_id.split("_")[5][1:]

    @property
    def scene(self) -> SceneKey:
        """The scene that the product shows."""
        return SceneKey(self.sensed_at.date(), relative_orbit_of(self.product_id), self.tile)


def read_facts(properties: dict[str, Any], field: str) -> Facts:
    """The facts among the properties of a Geobuf.

    Raises:
        QueryError: one is missing, or is none.
    """

    def wrong(name: str, why: object) -> QueryError:
        return QueryError(field, f"property {name} {why}")

    for name in ("product_id", "model"):
        if not isinstance(properties.get(name), str):
            raise wrong(name, "is missing or no text; the request's feature or feature collection must carry it")
    try:
        product_id = parse_product_id(properties["product_id"])
        tile_grid(product_id.split("_")[5][1:])
        model = ModelVersion.parse(properties["model"])
        named = dt.datetime.strptime(product_id.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        sensed_at = dt.datetime.fromisoformat(properties.get("sensed_at", named.isoformat()))
    except (InvalidKeyError, ValueError, TypeError) as error:
        raise QueryError(field, f"properties product_id, model or sensed_at: {error}") from error
    if sensed_at.tzinfo is None or abs(sensed_at - named) > dt.timedelta(days=1):
        raise wrong("sensed_at", f"{sensed_at} has no time zone or is not of the day in the product name")
    numbers: dict[str, float | None] = {}
    for name in ("cloud_cover", "confidence"):
        value = properties.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value <= 100):
            raise wrong(name, f"is {value!r}; give a percentage, 0 to 100, or leave it out")
        numbers[name] = value
    source = properties.get("source", product_id)
    if not isinstance(source, str) or not 0 < len(source) <= 2000 or not source.isprintable():
        raise wrong("source", "is no URL; give that of the STAC item, or leave it out")
    confidence = round(numbers["confidence"] or 0)
    return Facts(field, product_id, model, sensed_at, numbers["cloud_cover"], confidence, source)


def create_v1(store: ProductStore, request: bytes, folder: Path) -> str:
    """Publish what a `snapearth.api.v1.CreateProductRequest` holds; returns the product's name.

    The rasters make the product: its polygons are derived from them as the pipeline does. Where the request states no
    confidence it is 0 %, which is what nobody vouches for.

    Raises:
        QueryError, AlreadyExistsError, StoreUnavailableError: see `publish_draft`.
    """
    message: Any = parse_strictly(request, "snapearth.api.v1.CreateProductRequest")
    properties, footprint = _described(message.data, "data")
    facts = read_facts(properties, "data")
    _refuse_existing(store, facts)
    codes, grid = _read_land_cover(message.segmentation, facts)
    cloud = _read_cloud_mask(message.cloud_mask, grid)
    confidence = np.full(codes.shape, facts.confidence_percent, np.uint8)
    layer = land_cover_polygons(codes, confidence, grid, facts.product_id, facts.model).layer
    return publish_draft(store, facts, folder, grid, codes, confidence, cloud, layer, footprint)


def create_v2(store: ProductStore, request: bytes, folder: Path) -> str:
    """Publish what a `snapearth.api.v2.CreateProductRequest` holds; returns the product's name.

    The polygons make the product: its raster is them, drawn on the tile's grid around them. A cloud mask cannot be
    derived from polygons: it says clear, and `cloud_cover` is what the request states, or 0.

    Raises:
        QueryError, AlreadyExistsError, StoreUnavailableError: see `publish_draft`.
    """
    message: Any = parse_strictly(request, "snapearth.api.v2.CreateProductRequest")
    field = "product"
    if message.product.WhichOneof("data_type") != "feature_collection":
        raise QueryError(field, "holds no feature collection; send one feature a polygon, with its `code`")
    frame = _frame(message.product, field)
    facts = read_facts(dict(frame.attrs), field)
    _refuse_existing(store, facts)
    polygons, values = _checked_polygons(frame, field)
    grid, metres = _grid_around(polygons, facts)
    codes = _drawn(metres, values["code"], grid, field)
    confidence = _draw(metres, values["confidence"], grid, np.uint8)
    layer = _layer(polygons, metres, values, facts)
    cloud = np.zeros(grid.at_resolution(CLOUD_RESOLUTION_M).shape, bool)
    return publish_draft(store, facts, folder, grid, codes, confidence, cloud, layer, None)


CREATIONS: dict[str, Callable[[ProductStore, bytes, Path], str]] = {"v1": create_v1, "v2": create_v2}


def publish_draft(
    store: ProductStore,
    facts: Facts,
    folder: Path,
    grid: PixelGrid,
    codes: npt.NDArray[np.uint16],
    confidence: npt.NDArray[np.uint8],
    cloud: npt.NDArray[np.bool_],
    layer: PolygonLayer,
    footprint: BaseGeometry | None,
) -> str:
    """Write every file of the product into `folder` and publish it, validated like the pipeline's own.

    Raises:
        QueryError: the request's product is none.
        AlreadyExistsError: the store has it, by this model version.
        StoreUnavailableError: the store cannot be written.
    """
    valid = codes != NO_DATA
    if not valid.any():
        raise QueryError(facts.field, "holds no pixel with a class; there is nothing to publish")
    cover = facts.cloud_cover_percent
    if cover is None:
        cover = _cloud_cover_percent(valid, cloud)
    try:
        draft = Draft(
            folder=folder,
            product_id=facts.product_id,
            scene=facts.scene,
            model=facts.model,
            product_type=_PRODUCT_TYPES[facts.product_id.split("_")[1]],
            sensed_at=facts.sensed_at,
            footprint=_outline(valid, grid) if footprint is None else footprint,
            cloud_cover_percent=cover,
            source_hrefs=(facts.source,),
            whole_scene=False,  # what is sent may be one part of a split datatake
            grid=grid,
        )
        draft.save()
        write_land_cover(draft.path(Asset.LAND_COVER), codes, grid)
        write_confidence(draft.path(Asset.CONFIDENCE), confidence, valid, grid)
        write_cloud_mask(draft.path(Asset.CLOUD_MASK), cloud, grid)
        write_geoparquet(layer, draft.path(Asset.POLYGONS))
        draft.path(Asset.GEOBUF).write_bytes(encode_feature_collection(layer))
        write_thumbnail(draft.path(Asset.THUMBNAIL), codes)
        _refuse_existing(store, facts)
        return store.publish(draft).product_id
    except (ProductError, InvalidKeyError) as error:
        raise QueryError(facts.field, f"makes no product: {error}") from error


def _refuse_existing(store: ProductStore, facts: Facts) -> None:
    with store.open_catalogue() as catalogue:
        if catalogue.find(facts.product_id, facts.model) is not None:
            raise AlreadyExistsError(
                f"{facts.product_id} by {facts.model} exists; a product is never replaced by a call"
            )


def _described(data: Any, field: str) -> tuple[dict[str, Any], BaseGeometry | None]:
    """The properties of the one feature or of the collection; the feature's geometry is the footprint."""
    kind = data.WhichOneof("data_type")
    if kind == "feature_collection":
        return dict(_frame_of_collection(data, field)), None
    if kind != "feature":
        raise QueryError(field, "holds no feature; send one whose geometry is the footprint, with the product's facts")
    frame = _frame(data, field)
    footprint = frame.geometry.iloc[0]
    if not footprint.is_valid or footprint.is_empty or footprint.area == 0:
        raise QueryError(field, f"the footprint is no valid polygon: {shapely.is_valid_reason(footprint)[:160]}")
    return frame.iloc[0].drop("geometry").to_dict(), footprint


def _frame(data: Any, field: str) -> Any:
    try:
        return read_frame(data.SerializeToString())
    except ServiceAnswerError as error:
        raise QueryError(field, str(error)) from error


def _frame_of_collection(data: Any, field: str) -> dict[str, Any]:
    """Properties of a collection whose polygons are not read: the rasters make the product."""
    bare: Any = wire_class("geobufproto.Data")()
    bare.CopyFrom(data)
    del bare.feature_collection.features[:]
    return dict(_frame(bare, field).attrs)


def _read_land_cover(content: bytes, facts: Facts) -> tuple[npt.NDArray[np.uint16], PixelGrid]:
    tile = tile_grid(facts.tile)
    with _opened(content, "segmentation", "uint16") as raster:
        grid = _grid_of(raster, "segmentation", 10.0)
        if grid.epsg != tile.epsg:
            raise QueryError("segmentation", f"is in EPSG:{grid.epsg}; tile {facts.tile} is in EPSG:{tile.epsg}")
        columns, rows = (grid.left_m - tile.left_m) / 10.0, (tile.top_m - grid.top_m) / 10.0
        inside = 0 <= columns <= tile.width - grid.width and 0 <= rows <= tile.height - grid.height
        if not inside or columns % 2 or rows % 2:
            raise QueryError(
                "segmentation",
                f"has its corner at {grid.left_m:g} {grid.top_m:g} and {grid.width}×{grid.height} pixels, which is not "
                f"on the grid of tile {facts.tile}: corner {tile.left_m:g} {tile.top_m:g}, steps of 20 m, at most "
                f"{tile.width}×{tile.height} pixels",
            )
        codes: npt.NDArray[np.uint16] = _pixels(raster, "segmentation")
    present = np.unique(codes)
    unknown = [
        int(code) for code in present[present != NO_DATA] if code >= len(known_codes()) or not known_codes()[code]
    ]
    if unknown:
        raise QueryError(
            "segmentation", f"holds {unknown[:5]}, which are no CORINE level-3 codes (111…523, 0 = no data)"
        )
    return codes, grid


def _read_cloud_mask(content: bytes, grid: PixelGrid) -> npt.NDArray[np.bool_]:
    expected = grid.at_resolution(CLOUD_RESOLUTION_M)
    with _opened(content, "cloud_mask", "uint8") as raster:
        found = _grid_of(raster, "cloud_mask", CLOUD_RESOLUTION_M)
        if found != expected:
            raise QueryError(
                "cloud_mask",
                f"is on another grid than the segmentation: EPSG:{found.epsg}, corner {found.left_m:g} "
                f"{found.top_m:g}, {found.width}×{found.height}; expected EPSG:{expected.epsg}, {expected.left_m:g} "
                f"{expected.top_m:g}, {expected.width}×{expected.height}",
            )
        pixels = _pixels(raster, "cloud_mask")
    if pixels.max(initial=0) > 1:
        raise QueryError("cloud_mask", "holds other values than 0 (clear) and 1 (cloud)")
    return np.asarray(pixels, bool)


@contextlib.contextmanager
def _opened(content: bytes, field: str, dtype: str) -> Any:
    """A GeoTIFF of one band whose header promises no more than a tile; nothing is decoded yet."""
    if not content:
        raise QueryError(field, "is missing; send a GeoTIFF")
    try:
        with MemoryFile(content) as file, file.open(driver="GTiff") as raster:
            if raster.count != 1 or raster.dtypes[0] != dtype:
                raise QueryError(field, f"has {raster.count} bands of {raster.dtypes[0]}; send one of {dtype}")
            most = tile_grid("31TCJ")
            block = raster.block_shapes[0]
            if max(*raster.shape, *block) > most.width:
                raise QueryError(
                    field, f"says {raster.width}×{raster.height} pixels in blocks of {block}; a tile has {most.width}"
                )
            yield raster
    except RasterioError as error:
        raise QueryError(field, f"is damaged or no GeoTIFF: {str(error)[:200]}") from error


def _grid_of(raster: DatasetReader, field: str, resolution_m: float) -> PixelGrid:
    transform = raster.transform
    epsg = raster.crs.to_epsg() if raster.crs else None
    if epsg is None or (transform.a, transform.b, transform.d, transform.e) != (resolution_m, 0, 0, -resolution_m):
        raise QueryError(
            field,
            f"is not georeferenced north-up at {resolution_m:g} m in a UTM zone (EPSG:{epsg}, {tuple(transform)[:6]})",
        )
    return PixelGrid(epsg, transform.c, transform.f, resolution_m, raster.width, raster.height)


def _pixels(raster: DatasetReader, field: str) -> Any:
    try:
        return raster.read(1)
    except RasterioError as error:
        raise QueryError(field, f"does not hold the pixels that its header promises: {str(error)[:200]}") from error


def _checked_polygons(frame: Any, field: str) -> tuple[npt.NDArray[np.object_], dict[str, npt.NDArray[Any]]]:
    """The polygons, multipolygons taken apart, with code and confidence of each."""
    if "code" not in frame.columns or not len(frame):
        raise QueryError(field, "has no polygon with the property `code`, its CORINE level-3 class")
    wrong = [code for code in frame["code"].tolist() if type(code) is not int or not _is_class(code)]
    if wrong:
        raise QueryError(field, f"has polygons of class {wrong[:5]}; classes are CORINE level-3 codes, 111…523")
    stated = frame.get("mean_confidence", frame["code"] * 0.0).fillna(0.0).to_numpy(np.float64)
    if not ((stated >= 0) & (stated <= 100)).all():
        raise QueryError(field, "has a mean_confidence outside 0…100 percent")
    parts, owner = shapely.get_parts(frame.geometry.to_numpy(), return_index=True)
    invalid = np.flatnonzero(~shapely.is_valid(parts) | shapely.is_empty(parts))
    if len(invalid):
        reason = shapely.is_valid_reason(parts[invalid[0]])[:160]
        raise QueryError(field, f"feature {frame.index[owner[invalid[0]]]!r} is no valid polygon ({reason})")
    values = {"code": frame["code"].to_numpy(np.uint16)[owner], "confidence": stated[owner]}
    return shapely.orient_polygons(parts, exterior_cw=False), values


def _is_class(code: int) -> bool:
    return 0 < code < len(known_codes()) and bool(known_codes()[code])


def _grid_around(polygons: npt.NDArray[np.object_], facts: Facts) -> tuple[PixelGrid, npt.NDArray[np.object_]]:
    """The part of the tile's grid around polygons in EPSG:4326, and the polygons in its metres."""
    tile = tile_grid(facts.tile)
    project = Transformer.from_crs(4326, tile.epsg, always_xy=True)
    metres: npt.NDArray[np.object_] = shapely.transform(
        polygons, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1]))
    )
    west, south, east, north = shapely.total_bounds(metres).tolist()
    tile_west, tile_south, tile_east, tile_north = tile.bounds
    beyond = max(tile_west - west, tile_south - south, east - tile_east, north - tile_north)
    if not beyond <= tile.resolution_m:  # not finite is beyond as well
        raise QueryError(facts.field, f"has polygons outside tile {facts.tile}, which {facts.product_id} says it shows")
    left = tile_west + max(0, math.floor((west - tile_west + _ROUNDING_M) / _NEST_M)) * _NEST_M
    top = tile_north - max(0, math.floor((tile_north - north + _ROUNDING_M) / _NEST_M)) * _NEST_M
    columns = max(1, math.ceil((min(east, tile_east) - left - _ROUNDING_M) / _NEST_M))
    rows = max(1, math.ceil((top - max(south, tile_south) - _ROUNDING_M) / _NEST_M))
    nested = round(_NEST_M / tile.resolution_m)
    return PixelGrid(tile.epsg, left, top, tile.resolution_m, columns * nested, rows * nested), metres


def _drawn(
    metres: npt.NDArray[np.object_], codes: npt.NDArray[np.uint16], grid: PixelGrid, field: str
) -> npt.NDArray[np.uint16]:
    drawn: npt.NDArray[np.uint16] = _draw(metres, codes, grid, np.uint16)
    times = rasterio.features.rasterize(
        metres, grid.shape, transform=grid.transform, merge_alg=MergeAlg.add, dtype=np.uint8
    )
    overlapping = np.count_nonzero(times > 1)
    if overlapping > _MOST_OVERLAP * np.count_nonzero(times):
        raise QueryError(field, f"has polygons that overlap on {overlapping} pixels; every place has one class")
    lost = sorted(set(np.unique(codes).tolist()) - set(np.unique(drawn).tolist()))
    if lost:
        raise QueryError(field, f"has classes whose polygons are smaller than a pixel of 10 m: {lost[:5]}")
    return drawn


def _draw(metres: npt.NDArray[np.object_], values: npt.NDArray[Any], grid: PixelGrid, dtype: Any) -> Any:
    shapes = zip(metres, np.rint(values).astype(dtype).tolist(), strict=True)
    return rasterio.features.rasterize(shapes, grid.shape, transform=grid.transform, dtype=dtype)


def _layer(
    polygons: npt.NDArray[np.object_],
    metres: npt.NDArray[np.object_],
    values: dict[str, npt.NDArray[Any]],
    facts: Facts,
) -> PolygonLayer:
    _, coordinates, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
    return PolygonLayer(
        product_id=facts.product_id,
        model=str(facts.model),
        codes=values["code"],
        areas_m2=shapely.area(metres),
        mean_confidence=values["confidence"].round(1).astype(np.float32),
        coordinates=coordinates,
        ring_offsets=np.asarray(ring_offsets, np.int64),
        polygon_offsets=np.asarray(polygon_offsets, np.int64),
    )


def _cloud_cover_percent(valid: npt.NDArray[np.bool_], cloud: npt.NDArray[np.bool_]) -> float:
    fine = cloud.repeat(2, axis=0).repeat(2, axis=1)[: valid.shape[0], : valid.shape[1]]
    return float(100 * np.count_nonzero(fine & valid) / np.count_nonzero(valid))


def _outline(valid: npt.NDArray[np.bool_], grid: PixelGrid) -> BaseGeometry:
    """The footprint of the valid pixels in EPSG:4326: their outline in steps of 160 m, from outside."""
    step = _OUTLINE_PIXELS
    rows, columns = (-(-size // step) for size in valid.shape)
    padded = np.zeros((rows * step, columns * step), bool)
    padded[: grid.height, : grid.width] = valid
    coarse = padded.reshape(rows, step, columns, step).any(axis=(1, 3))
    transform = grid.transform * grid.transform.scale(step)
    shapes = rasterio.features.shapes(coarse.astype(np.uint8), mask=coarse, transform=transform)
    outline = shapely.union_all([shapely.geometry.shape(shape) for shape, _ in shapes])
    inside = shapely.intersection(outline, shapely.box(*grid.bounds)).simplify(step * grid.resolution_m)
    project = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    degrees = shapely.transform(
        shapely.segmentize(inside, 10_000.0), lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1]))
    )
    parts = [part for part in shapely.get_parts(shapely.make_valid(degrees)) if part.geom_type.endswith("Polygon")]
    return shapely.union_all(parts)


def main() -> None:
    """Read what to create from standard input, create it, and say on standard output what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    version, store, request, folder = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the server that started this process
    outcome: dict[str, str]
    try:
        outcome = {"product_id": CREATIONS[version](store, request, Path(folder))}
    except QueryError as error:
        outcome = {"error": "QueryError", "field": error.field, "message": error.remedy}
    except (AlreadyExistsError, StoreUnavailableError) as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    except EarthSignatureError as error:
        outcome = {"error": "QueryError", "field": "product", "message": str(error)}
    except MemoryError:
        outcome = {"error": "QueryError", "field": "product", "message": "needs more memory than a product may take"}
    json.dump(outcome, answers)
    answers.flush()


if __name__ == "__main__":
    main()
