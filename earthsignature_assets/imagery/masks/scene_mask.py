"""Read the mask of a scene: from its classification, or by the cloud model if there is none."""

from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import BandError, ItemError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.masks import cloud_model
from earthsignature_assets.imagery.masks.scene_classification import (
    DEFAULT_MASKS,
    OUTSIDE_VALUE,
    MaskSet,
    SceneMask,
    mask_scene,
)
from earthsignature_assets.imagery.reading.band_header import check_header
from earthsignature_assets.imagery.reading.band_reader import REMEDY, BandReader, gdal_environment
from earthsignature_assets.imagery.reading.scene_reader import read_blocks
from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem

NumberT = TypeVar("NumberT", np.float32, np.uint16)

_CLOUD_MODEL_SIDE = 2040
"""Side of the windows read for the cloud model, in 10 m pixels: a multiple of the model's pixel."""


def read_scene_mask(scene: Scene, masks: MaskSet = DEFAULT_MASKS) -> tuple[SceneMask, PixelGrid]:
    """Read a scene's classification and turn it into masks on its own grid (20 m).

    In a split scene the later part fills the no data of the earlier one. A scene of level L1C has no classification:
    the cloud model makes one at 60 m.

    Raises:
        ItemError: an item of level L2A has no classification.
        BandError: a classification is damaged, empty, or on another grid than the first part's.
        ProviderUnavailableError: its server does not respond.
        ConfigurationError: the cloud model is needed but not installed.
    """
    classification, grid = _by_cloud_model(scene) if scene.level == "L1C" else _by_provider(scene)
    return mask_scene(classification, grid.resolution_m, masks, scene.parts[0].baseline), grid


def _by_provider(scene: Scene) -> tuple[npt.NDArray[np.uint8], PixelGrid]:
    # GDAL keeps a thread's connection open as long as the thread lives: the caller's connection would come on top of
    # those of the bands, one more than a provider such as CDSE allows.
    with ThreadPoolExecutor(1, "classification") as thread:
        layers = list(thread.map(_read_classification, scene.parts))
    classification, grid = layers[0]
    for part, (values, part_grid) in zip(scene.parts[1:], layers[1:], strict=True):
        if part_grid != grid:
            raise BandError(
                f"item {part.item_id}: band SCL has the grid {part_grid}, the scene's other part has {grid}; {REMEDY}"
            )
        classification = np.where(classification == OUTSIDE_VALUE, values, classification)
    return classification, grid


def _read_classification(part: SceneItem) -> tuple[npt.NDArray[np.uint8], PixelGrid]:
    if part.classification is None:
        raise ItemError(
            f"item {part.item_id} has no scene classification (SCL), so its clouds are unknown: "
            "check the provider's classification_asset"
        )
    with (
        gdal_environment(part.access),
        BandReader(part.item_id, "SCL", part.classification, part.access) as reader,
    ):
        check_header(reader, part, part.classification)
        values = reader.read(reader.grid.whole, np.empty(reader.grid.shape, np.uint8))
    if not values.any():
        raise BandError(
            f"item {part.item_id}: band SCL ({reader.href}) is no data everywhere: its product is damaged; {REMEDY}"
        )
    return values, reader.grid


def _by_cloud_model(scene: Scene) -> tuple[npt.NDArray[np.uint8], PixelGrid]:
    grid = scene.grid.at_resolution(cloud_model.RESOLUTION_M)
    factor = round(cloud_model.RESOLUTION_M / scene.grid.resolution_m)
    stack = np.zeros((len(cloud_model.CLOUD_BANDS), *grid.shape), np.float32)
    no_data = np.ones(grid.shape, bool)
    for block in read_blocks(scene, cloud_model.CLOUD_BANDS, _CLOUD_MODEL_SIDE, _CLOUD_MODEL_SIDE):
        rows, columns = (slice(side.start // factor, -(-side.stop // factor)) for side in block.window.index)
        for layer, band in zip(stack, block.reflectance, strict=True):
            layer[rows, columns] = _averaged(band, factor) / np.float32(10_000)
        no_data[rows, columns] = _averaged(block.no_data.astype(np.float32), factor) > 0
    return cloud_model.classify(stack, no_data), grid


def _averaged(array: npt.NDArray[NumberT], factor: int) -> npt.NDArray[NumberT]:
    """Average squares of `factor` pixels; the last row and column are repeated to fill a square."""
    height, width = (-(-side // factor) for side in array.shape)
    missing = ((0, height * factor - array.shape[0]), (0, width * factor - array.shape[1]))
    full = np.pad(array, missing, mode="edge")
    return cast("npt.NDArray[NumberT]", cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA))
