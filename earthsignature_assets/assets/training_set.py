"""`training_set`: labelled samples of scenes, split by space."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from earthsignature_assets.assets.metadata import OWNERS, table
from earthsignature_assets.assets.progress import progress_of
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.nomenclature import class_of, name_at_level
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.workspace import Workspace


class TrainingSetConfig(dg.Config):
    """The recipe of the training set."""

    recipe: str
    """Path of the recipe, a TOML file: docs/how-to/train-on-your-polygons.md lists its keys."""


@dg.asset(
    group_name="models",
    code_version="1",
    tags={"retention": "kept"},
    owners=OWNERS,
    kinds={"zarr", "stac"},
)
def training_set(
    context: dg.AssetExecutionContext, config: TrainingSetConfig, imagery: ImagerySource, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Images and their ground truth on one grid, cut into chips and split by cells of the European reference grid."""
    # The runs of the chain do not need these imports, which take half a second.
    from earthsignature_assets.ground_truth.training_set_builder import build_training_set
    from earthsignature_assets.ground_truth.training_set_recipe import read_recipe
    from earthsignature_assets.resources.training_images import open_images

    with step_faults(context):
        recipe = read_recipe(Path(config.recipe).expanduser())
        made = build_training_set(
            recipe,
            open_images(recipe, workspace, imagery),
            workspace.training_sets_root / recipe.name,
            progress_of(context, recipe.name, "samples"),
        )
        report = made.report
        return dg.MaterializeResult(
            metadata={
                "name": recipe.name,
                "identity": made.identity,
                "folder": dg.MetadataValue.path(str(made.folder)),
                "samples": len(made),
                "splits": table([{"split": split, **part} for split, part in report["splits"].items()]),
                "classes": table([_class_row(entry) for entry in report["classes"]]),
                "classes_without_a_pixel": table(
                    [{"code": code, "class": class_of(code).name} for code in report["classes_without_a_pixel"]]
                ),
                "remarks": table(report["remarks"]),
            }
        )


def _class_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"class": name_at_level(entry["code"], entry["level"]), **entry, "share": round(100 * entry["share"], 2)}
