"""The inference engine and the model repository."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import dagster as dg

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Engine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.system.settings import Settings


class InferenceEngine(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An engine over a model repository: Triton where its endpoints are given, else the embedded one.

    Attributes:
        models: the deployment's own repository, which replaces the others.
        registered: without `models`, the folder of registered versions, in front of the package's own repository.
        triton: endpoints, separated by commas.
        threads: threads of the embedded engine.
    """

    models: str = Settings.models
    registered: str = ""
    triton: str = Settings.triton
    threads: int = Settings.threads

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the engine of a deployment."""
        return cls(
            models=settings.models,
            registered=str(settings.home / "models"),
            triton=settings.triton,
            threads=settings.threads,
        )

    @property
    def repository(self) -> ModelRepository:
        """The model repository."""
        if self.models:
            return ModelRepository(Path(self.models))
        shipped = shipped_repository()
        return ModelRepository(Path(self.registered), shipped.root) if self.registered else shipped

    def check_level(self, level: str, whose: str) -> None:
        """Check that a model of the repository reads a processing level.

        Args:
            level: the processing level, L1C or L2A.
            whose: the source of the imagery, for the message.

        Raises:
            ModelError: no model version reads that level.
        """
        repository = self.repository
        levels = {repository.describe(model).level for model in repository.versions()}
        if levels and level not in levels:
            raise ModelError(
                f"{whose} delivers {level}, the models read {', '.join(sorted(levels))}: choose a provider of that "
                f"level, or register a model whose model.json asks for {level}"
            )

    @contextmanager
    def open(self, model: ModelVersion) -> Iterator[Engine]:
        """Open an engine for a model version; its connections are closed when the block ends.

        Raises:
            InvalidKeyError: an endpoint does not parse.
            ModelError: the version is absent, damaged or does not fit.
            EngineUnavailableError: no Triton endpoint answers.
        """
        if self.triton:
            # Triton's client takes a fifth of a second to import, and the embedded engine does not need it.
            from earthsignature_assets.inference.triton_engine import TritonEngine, parse_endpoints

            if endpoints := parse_endpoints(self.triton):
                with closing(TritonEngine(self.repository, model, endpoints)) as engine:
                    yield engine
                return
        yield EmbeddedEngine(self.repository, model, self.threads)
