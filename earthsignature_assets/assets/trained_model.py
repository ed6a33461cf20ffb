"""`trained_model`: a new model version in the model repository, trained on a training set."""

import math

import dagster as dg

from earthsignature_assets.assets.metadata import OWNERS, png_picture, table
from earthsignature_assets.assets.progress import progress_of
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.assets.training_set import training_set
from earthsignature_assets.errors import TrainingError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


class TrainingConfig(dg.Config):
    """The training set and the hyperparameters."""

    training_set: str = ""
    """Name or folder of the training set; empty for the newest one of the home."""
    name: str = "corine-unet"
    """Model of the new version."""
    version: int = 0
    """Number of the version; 0 for the next one."""
    epochs: int = 60
    """Maximum number of epochs; an epoch has as many tiles as there are samples."""
    patience: int = 12
    """Epochs without a better accuracy on the validation split before training stops; 0 for no early stop."""
    width: int = 16
    """Channels at the full resolution."""
    depth: int = 3
    """Number of times that the resolution is halved."""
    tile: int = 96
    """Height and width of a training tile in pixels."""
    seed: int = 20181016
    """Seed of all random numbers."""
    device: str = "cpu"
    """Device of PyTorch: cpu or cuda."""


@dg.asset(
    deps=[training_set],
    group_name="models",
    code_version="1",
    tags={"retention": "kept"},
    owners=OWNERS,
    kinds={"pytorch", "onnx"},
    pool="training",
)
def trained_model(
    context: dg.AssetExecutionContext, config: TrainingConfig, engine: InferenceEngine, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """U-Net, trained on the training split and stopped by the validation split; it becomes a model version."""
    with step_faults(context):
        try:
            # Needs PyTorch, which only deployments that train install.
            from earthsignature_assets.training.optimisation import Recipe
            from earthsignature_assets.training.set_training import CURVES, SetPlan, train_on_set
        except ModuleNotFoundError as error:
            raise TrainingError(
                f"{error.name} is not installed: pip install 'earthsignature[train]' brings what training needs"
            ) from error
        taken = workspace.training_set(config.training_set)
        model = _version(config, engine)
        recipe = Recipe(
            epochs=config.epochs,
            patience=config.patience,
            seed=config.seed,
            side=config.tile,
            threads=engine.threads,
            device=config.device,
        )
        made = train_on_set(
            taken,
            engine.repository.root,
            model,
            SetPlan(recipe, config.width, config.depth),
            progress_of(context, str(model), "steps"),
        )
        accuracies = [value for value in made.curve.accuracies if not math.isnan(value)]
        return dg.MaterializeResult(
            metadata={
                "model": str(model),
                "folder": dg.MetadataValue.path(str(made.folder)),
                "training_set": taken.report["name"],
                "samples": made.samples,
                "epochs": len(made.curve.losses),
                "loss": round(made.curve.losses[-1], 4),
                "validation_accuracy": round(max(accuracies), 4) if accuracies else "not judged",
                "receptive_field": made.description.receptive_field,
                "halo": made.description.halo,
                "sha256": made.description.sha256,
                "classes": table(
                    [
                        {"code": entry.code, "level": entry.supported_level, "ground truth": entry.meaning}
                        for entry in made.description.classes
                    ]
                ),
                "learning_curves": png_picture((made.folder / CURVES).read_bytes()),
            }
        )


def _version(config: TrainingConfig, engine: InferenceEngine) -> ModelVersion:
    known = engine.repository.versions()
    if not config.version:
        return ModelVersion(config.name, 1 + max((one.version for one in known if one.name == config.name), default=0))
    model = ModelVersion(config.name, config.version)
    if model in known:
        raise TrainingError(f"{model} is in the model repository already: a version never changes, take another number")
    return model
