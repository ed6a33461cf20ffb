"""Where the chain keeps what it makes: one home folder, and the paths in it.

<home>/items, verdicts                      what is known of each day
<home>/patches/<scene>.zarr                 transient
<home>/segmentations/<model>/<scene>.zarr   transient
<home>/drafts/<model>/<scene>/              products before their publication
<home>/store/                               the published products and their catalogue
"""

from pathlib import Path

import dagster as dg

from earthsignature_assets.imagery.day_archive import DayArchive
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.store import ProductStore


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The folders of one deployment."""

    home: str

    @property
    def days(self) -> DayArchive:
        """What is known of each day."""
        return DayArchive(Path(self.home))

    @property
    def store(self) -> ProductStore:
        """The published products."""
        return ProductStore(Path(self.home) / "store")

    def patches(self, scene: SceneKey) -> Path:
        """Where a scene's patches are."""
        return Path(self.home) / "patches" / f"{scene}.zarr"

    def segmentation(self, scene: SceneKey, model: ModelVersion) -> Path:
        """Where a scene's segmentation by a model version is."""
        return Path(self.home) / "segmentations" / str(model) / f"{scene}.zarr"

    def draft(self, scene: SceneKey, model: ModelVersion) -> Path:
        """Where a product is prepared."""
        return Path(self.home) / "drafts" / str(model) / str(scene)
