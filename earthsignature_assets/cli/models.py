"""`earthsignature models`: what the model repository holds."""

from rich.console import Console
from rich.table import Table

from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.settings import Settings


def list_models(settings: Settings, console: Console) -> None:
    """Print a table of the versions and their classes."""
    repository = InferenceEngine(models=settings.models).repository
    table = Table(title=f"Model versions in {repository.root}")
    for column in ("model version", "level", "halo", "classes (CORINE code, level that the ground truth supports)"):
        table.add_column(column)
    for model in repository.versions():
        description = repository.describe(model)
        classes = ", ".join(
            f"{entry.code} {class_of(entry.code).name} (level {entry.supported_level})" for entry in description.classes
        )
        table.add_row(str(model), description.level, str(description.halo), classes)
    console.print(table)
