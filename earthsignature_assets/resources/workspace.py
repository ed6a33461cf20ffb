"""The home folder of a deployment and the paths in it.

<home>/items, verdicts/<provider>/          items and verdicts of each day
<home>/patches/<scene>.zarr                 transient
<home>/segmentations/<model>/<scene>.zarr   transient
<home>/drafts/<model>/<scene>/              products before their publication
<home>/models/                              registered model versions, in the layout of Triton
<home>/training_sets/<name>/                labelled samples, split by space
<home>/evaluations/<model>/                 figures of a version on held-out samples
<home>/retired_models.json                  versions that take no part in new runs
<home>/store/                               the published products and their catalogue, unless they are elsewhere
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.imagery.days.day_archive import DayArchive
from earthsignature_assets.imagery.patches.patch_retention import RetentionPolicy
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.models.retirement import RetiredModels
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.system.settings import Settings

if TYPE_CHECKING:
    from earthsignature_assets.ground_truth.training_set import TrainingSet


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The folders of one deployment."""

    home: str
    store_location: str = Settings.store
    catalogue_location: str = Settings.catalogue
    provider_name: str = Settings.provider
    patch_days: float = Settings.patch_days
    patch_budget_gb: float = Settings.patch_budget_gb

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the folders of a deployment."""
        return cls(
            home=str(settings.home),
            store_location=settings.store,
            catalogue_location=settings.catalogue,
            provider_name=settings.provider,
            patch_days=settings.patch_days,
            patch_budget_gb=settings.patch_budget_gb,
        )

    @property
    def days(self) -> DayArchive:
        """The items and verdicts of each day from the deployment's provider."""
        return DayArchive(Path(self.home), self.provider_name)

    @property
    def store(self) -> ProductStore:
        """The store of the published products.

        Raises:
            InvalidKeyError: the location of the store or of the catalogue has an unknown form.
        """
        return ProductStore(self.store_location or Path(self.home) / "store", self.catalogue_location)

    @property
    def retired_models(self) -> RetiredModels:
        """The model versions that take no part in new runs."""
        return RetiredModels(Path(self.home) / "retired_models.json")

    @property
    def retention(self) -> RetentionPolicy:
        """The limits of age and size for patches."""
        return RetentionPolicy(self.patch_days, self.patch_budget_gb)

    @property
    def patches_root(self) -> Path:
        """Folder of the patches of all scenes."""
        return Path(self.home) / "patches"

    @property
    def segmentations_root(self) -> Path:
        """Folder of the segmentations, with a folder for each model version."""
        return Path(self.home) / "segmentations"

    @property
    def drafts_root(self) -> Path:
        """Folder of products before their publication, with a folder for each model version."""
        return Path(self.home) / "drafts"

    @property
    def training_sets_root(self) -> Path:
        """Folder of the training sets."""
        return Path(self.home) / "training_sets"

    def training_set(self, name: str = "") -> "TrainingSet":
        """Open a training set by its name or folder; the newest one of the home if the name is empty.

        Raises:
            GroundTruthError: there is no training set.
        """
        from earthsignature_assets.ground_truth.training_set import SAMPLES, TrainingSet

        root = self.training_sets_root
        if name:
            return TrainingSet(root / name if (root / name).is_dir() else Path(name).expanduser())
        found = sorted(root.glob(f"*/{SAMPLES}"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise GroundTruthError(f"there is no training set in {root}: materialise `training_set` first")
        return TrainingSet(found[-1].parent)

    def promoted_model(self, repository: ModelRepository) -> ModelVersion | None:
        """Return the version that was promoted last; None if none was or the repository no longer has it."""
        if not self.store.has_catalogue():
            return None
        with self.store.open_catalogue(read_only=True) as catalogue:
            promotions = catalogue.promotions()
        last = promotions[0].model if promotions else None
        return last if last in repository.versions() else None

    @property
    def evaluations_root(self) -> Path:
        """Folder of the evaluations, with a folder for each model version."""
        return Path(self.home) / "evaluations"

    def patches(self, scene: SceneKey) -> Path:
        """Return the folder of a scene's patches."""
        return self.patches_root / f"{scene}.zarr"

    def segmentation(self, scene: SceneKey, model: ModelVersion) -> Path:
        """Return the folder of a scene's segmentation by a model version."""
        return self.segmentations_root / str(model) / f"{scene}.zarr"

    def draft(self, scene: SceneKey, model: ModelVersion) -> Path:
        """Return the folder of a product before its publication."""
        return self.drafts_root / str(model) / str(scene)
