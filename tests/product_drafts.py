"""Drafts of products with made-up land cover, as the chain writes them, for every room that publishes some."""

import datetime as dt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion, SceneKey, relative_orbit_of
from earthsignature_assets.models.mlm_item import mlm_item
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.generalisation import land_cover_polygons
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import write_geoparquet
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.rasters.cog import write_rasters
from earthsignature_assets.products.rasters.thumbnail import write_thumbnail

PRODUCT_ID = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"
MODEL = ModelVersion("corine-unet", 1)
SHIPPED = shipped_repository()


def blobs(height: int, width: int, classes: tuple[int, ...], smoothness: float, seed: int) -> npt.NDArray[np.uint16]:
    """Random regions of CORINE codes."""
    random = np.random.default_rng(seed)
    fields = [
        cv2.GaussianBlur(random.standard_normal((height, width)).astype(np.float32), (0, 0), smoothness)
        for _ in classes
    ]
    codes: npt.NDArray[np.uint16] = np.array(classes, np.uint16)[np.argmax(fields, axis=0)]
    return codes


def swath(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Regions cut by a slanted swath edge: 0 on its west."""
    codes = blobs(height, width, (111, 211, 311, 312, 512), 3.0, seed)
    rows, columns = np.ogrid[:height, :width]
    codes[columns < width * 0.1 + rows * 0.3] = 0
    return codes


def tile_part(height: int, width: int, tile: str = "32TQM") -> PixelGrid:
    grid = tile_grid(tile)
    return PixelGrid(grid.epsg, grid.left_m, grid.top_m, 10.0, width, height)


def fill_draft(draft: Draft, codes: npt.NDArray[np.uint16]) -> None:
    """Write every file of a draft, as the chain does."""
    confidence = (40 + codes % 61).astype(np.uint8)
    draft.save()
    write_rasters(draft, codes, confidence, codes == 512)
    polygons = land_cover_polygons(codes, confidence, draft.grid, draft.product_id, draft.model)
    write_geoparquet(polygons.layer, draft.path(Asset.POLYGONS), polygons.facts())
    draft.path(Asset.GEOBUF).write_bytes(encode_feature_collection(polygons.layer))
    write_thumbnail(draft.path(Asset.THUMBNAIL), codes)


def make_draft(
    folder: Path,
    model: ModelVersion = MODEL,
    seed: int = 0,
    product_id: str = PRODUCT_ID,
    size: tuple[int, int] = (81, 100),
) -> Draft:
    """A whole draft over a corner of its tile."""
    tile = product_id.split("_")[5][1:]
    sensed_at = dt.datetime.strptime(product_id.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    grid = tile_part(*size, tile)
    draft = Draft(
        folder=folder,
        product_id=product_id,
        scene=SceneKey(sensed_at.date(), relative_orbit_of(product_id), tile),
        model=model,
        product_type="S2MSI2A",
        sensed_at=sensed_at,
        footprint=grid.footprint(),
        cloud_cover_percent=12.637376,
        source_hrefs=("https://stac.example/items/S2B_32TQM_20260501_0_L2A",),
        grid=grid,
        model_item=mlm_item(SHIPPED.describe(MODEL), SHIPPED.folder(MODEL)) if model == MODEL else None,
        model_folder=SHIPPED.folder(MODEL),
    )
    fill_draft(draft, swath(*size, seed))
    return draft
