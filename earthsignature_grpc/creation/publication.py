"""Creation of a product from rasters (version 1) or from polygons (version 2)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import (
    AlreadyExistsError,
    InvalidKeyError,
    ProductError,
    QueryError,
    ServiceAnswerError,
)
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import product_type_of
from earthsignature_assets.nomenclature import NO_DATA
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.generalisation import land_cover_polygons
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import write_geoparquet
from earthsignature_assets.products.polygons.polygon_layer import PolygonLayer
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, Asset
from earthsignature_assets.products.rasters.cog import write_cloud_mask, write_confidence, write_land_cover
from earthsignature_assets.products.rasters.thumbnail import write_thumbnail
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.creation.facts import Facts, read_facts
from earthsignature_grpc.creation.polygons import checked_polygons, draw, draw_codes, grid_around, layer_of
from earthsignature_grpc.creation.rasters import read_cloud_mask, read_land_cover
from earthsignature_grpc.wire.descriptors import wire_class
from earthsignature_grpc.wire.geobuf_reader import read_frame
from earthsignature_grpc.wire.strict_decoding import parse_strictly

_OUTLINE_PIXELS = 16


def create_v1(store: ProductStore, request: bytes, folder: Path) -> str:
    """Publish the product of a `snapearth.api.v1.CreateProductRequest`, and return its name.

    Polygons are derived from the rasters as in the pipeline. Without a confidence in the request it is 0 %, because
    nothing supports the classes.

    Raises:
        QueryError, AlreadyExistsError, StoreUnavailableError: see `publish_draft`.
    """
    message: Any = parse_strictly(request, "snapearth.api.v1.CreateProductRequest")
    properties, footprint = _described(message.data, "data")
    facts = read_facts(properties, "data")
    _refuse_existing(store, facts)
    codes, grid = read_land_cover(message.segmentation, facts)
    cloud = read_cloud_mask(message.cloud_mask, grid)
    confidence = np.full(codes.shape, facts.confidence_percent, np.uint8)
    layer = land_cover_polygons(codes, confidence, grid, facts.product_id, facts.model).layer
    return publish_draft(store, facts, folder, grid, codes, confidence, cloud, layer, footprint)


def create_v2(store: ProductStore, request: bytes, folder: Path) -> str:
    """Publish the product of a `snapearth.api.v2.CreateProductRequest`, and return its name.

    The raster is drawn from the polygons, on the part of the tile's grid around them. A cloud mask cannot be derived
    from polygons, so it is clear everywhere; `cloud_cover` is that of the request, or 0.

    Raises:
        QueryError, AlreadyExistsError, StoreUnavailableError: see `publish_draft`.
    """
    message: Any = parse_strictly(request, "snapearth.api.v2.CreateProductRequest")
    field = "product"
    if message.product.WhichOneof("data_type") != "feature_collection":
        raise QueryError(field, "holds no feature collection; send one with a feature for each polygon and its `code`")
    frame = _frame(message.product, field)
    facts = read_facts(dict(frame.attrs), field)
    _refuse_existing(store, facts)
    polygons, values = checked_polygons(frame, field)
    grid, metres = grid_around(polygons, facts)
    codes = draw_codes(metres, values["code"], grid, field)
    confidence = draw(metres, values["confidence"], grid, np.uint8)
    layer = layer_of(polygons, metres, values, facts)
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
    """Write all files of the product into `folder` and publish them, with the validation of the pipeline's products.

    Raises:
        QueryError: the product of the request is not valid.
        AlreadyExistsError: the store has it already, from this model version.
        StoreUnavailableError: the store cannot be written.
    """
    valid = codes != NO_DATA
    if not valid.any():
        raise QueryError(facts.field, "holds no pixel with a class; send at least one")
    cover = facts.cloud_cover_percent
    if cover is None:
        cover = _cloud_cover_percent(valid, cloud)
    try:
        draft = Draft(
            folder=folder,
            product_id=facts.product_id,
            scene=facts.scene,
            model=facts.model,
            product_type=product_type_of(facts.product_id),
            sensed_at=facts.sensed_at,
            footprint=_outline(valid, grid) if footprint is None else footprint,
            cloud_cover_percent=cover,
            source_hrefs=(facts.source,),
            whole_scene=False,  # the request may hold one part of a split datatake
            grid=grid,
        )
        draft.save()
        write_land_cover(draft.path(Asset.LAND_COVER), codes, grid)
        write_confidence(draft.path(Asset.CONFIDENCE), confidence, valid, grid)
        write_cloud_mask(draft.path(Asset.CLOUD_MASK), cloud, grid)
        write_geoparquet(layer, draft.path(Asset.POLYGONS))
        draft.path(Asset.GEOBUF).write_bytes(encode_feature_collection(layer))
        write_thumbnail(draft.path(Asset.THUMBNAIL), codes)
        return store.publish(draft, new=True).product_id
    except (ProductError, InvalidKeyError) as error:
        raise QueryError(facts.field, f"is not a valid product: {error}") from error


def _refuse_existing(store: ProductStore, facts: Facts) -> None:
    """Refuse an existing product early, before the work that its publication would refuse."""
    with store.open_catalogue() as catalogue:
        if catalogue.find(facts.product_id, facts.model) is not None:
            raise AlreadyExistsError(f"{facts.product_id} by {facts.model} exists; a call never replaces it")


def _described(data: Any, field: str) -> tuple[dict[str, Any], BaseGeometry | None]:
    """Read the properties of the only feature or of the collection; the feature's geometry is the footprint."""
    kind = data.WhichOneof("data_type")
    if kind == "feature_collection":
        return dict(_frame_of_collection(data, field)), None
    if kind != "feature":
        raise QueryError(field, "holds no feature; send one whose geometry is the footprint, with the product's facts")
    frame = _frame(data, field)
    footprint = frame.geometry.iloc[0]
    if not footprint.is_valid or footprint.is_empty or footprint.area == 0:
        reason = shapely.is_valid_reason(footprint)[:160]
        raise QueryError(field, f"has a footprint that is not a valid polygon ({reason}); repair it")
    return frame.iloc[0].drop("geometry").to_dict(), footprint


def _frame(data: Any, field: str) -> Any:
    try:
        return read_frame(data.SerializeToString())
    except ServiceAnswerError as error:
        raise QueryError(field, str(error)) from error


def _frame_of_collection(data: Any, field: str) -> dict[str, Any]:
    """Read the properties of a collection but not its polygons, which come from the rasters."""
    bare: Any = wire_class("geobufproto.Data")()
    bare.CopyFrom(data)
    del bare.feature_collection.features[:]
    return dict(_frame(bare, field).attrs)


def _cloud_cover_percent(valid: npt.NDArray[np.bool_], cloud: npt.NDArray[np.bool_]) -> float:
    fine = cloud.repeat(2, axis=0).repeat(2, axis=1)[: valid.shape[0], : valid.shape[1]]
    return float(100 * np.count_nonzero(fine & valid) / np.count_nonzero(valid))


def _outline(valid: npt.NDArray[np.bool_], grid: PixelGrid) -> BaseGeometry:
    """Outline the valid pixels in EPSG:4326, in steps of 160 m that contain them."""
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
