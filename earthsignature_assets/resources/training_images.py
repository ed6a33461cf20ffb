"""The images that a training-set recipe names: files, scenes with patches in the home, STAC items."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.chips import BandFiles, Image
from earthsignature_assets.ground_truth.training_set_recipe import ImageEntry, TrainingSetRecipe
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem, scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS


@dataclass(frozen=True, eq=False)
class PatchImage:
    """A scene's patches as an image to cut chips from."""

    store: PatchStore
    name: str
    level: str
    region: str
    provenance: Mapping[str, Any]

    @property
    def grid(self) -> PixelGrid:
        """The scene's 10 m grid."""
        return self.store.grid

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
        """Read the reflectance × 10000 of a window: (10, rows, columns) uint16, 0 = no data."""
        return self.store.reflectance(rows, columns)

    def hidden(self) -> npt.NDArray[np.bool_]:
        """Return the pixels without data or under cloud or shadow: (height, width) bool."""
        return self.store.no_data() | self.store.unreliable()


def open_images(recipe: TrainingSetRecipe, workspace: Workspace, imagery: ImagerySource) -> list[Image]:
    """Open every image of a recipe, and fetch the missing patches of its STAC items.

    Raises:
        GroundTruthError: an item cannot be read, an image is named twice, or a scene has another level than the
            recipe gives.
        BandError: a scene has no patches, or a band is damaged.
        ItemError: an item lacks what the chain needs.
        ProviderUnavailableError: a band's server does not answer.
    """
    images = [_open(entry, workspace, imagery) for entry in recipe.images]
    names = [image.name for image in images]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GroundTruthError(f"{recipe.name} names {', '.join(twice)} more than once")
    return images


def _open(entry: ImageEntry, workspace: Workspace, imagery: ImagerySource) -> Image:
    if entry.bands is not None:
        folder = entry.bands
        name = folder.parent.name if folder.name == "bands" else folder.stem
        return BandFiles(folder, entry.level, name, entry.region, entry.offset, {"licence": entry.licence})
    key = SceneKey.parse(entry.scene) if entry.scene else None
    item = None if key else _item(entry.item, imagery)
    if item is not None:
        key = item.key
        if not workspace.patches(key).is_dir():
            write_patches(Scene((item,)), S2_BANDS, workspace.patches(key), masks=imagery.policy.masks)
    assert key is not None  # noqa: S101 - the recipe names a scene or an item
    store = PatchStore(workspace.patches(key))
    if store.level != entry.level:
        raise GroundTruthError(
            f"the patches of {key} have level {store.level}, the recipe gives {entry.level}: correct the recipe"
        )
    provenance = {"scene": str(key), "sensed_at": f"{key.day}T00:00:00Z", "licence": entry.licence}
    if item is not None:
        provenance |= {"href": item.href or entry.item, "sensed_at": item.sensed_at.isoformat().replace("+00:00", "Z")}
    return PatchImage(store, str(key), store.level, entry.region, provenance)


def _item(path: str, imagery: ImagerySource) -> SceneItem:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroundTruthError(f"the STAC item {path} cannot be read: {error}") from error
    return scene_item(content, imagery.provider, S2_BANDS)
