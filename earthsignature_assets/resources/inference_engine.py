"""Which engine runs the models, and where they are."""

from pathlib import Path

import dagster as dg

from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Engine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, shipped_repository


class InferenceEngine(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The embedded engine over a model repository."""

    models: str = ""
    threads: int = 2

    @property
    def repository(self) -> ModelRepository:
        """The model repository."""
        return ModelRepository(Path(self.models)) if self.models else shipped_repository()

    def load(self, model: ModelVersion) -> Engine:
        """Load a model version.

        Raises:
            ModelError: the version is absent, damaged or does not fit.
        """
        return EmbeddedEngine(self.repository, model, self.threads)
