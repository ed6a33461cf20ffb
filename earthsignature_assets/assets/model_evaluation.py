"""`model_evaluation`: figures of a model version on held-out samples, and the promotion decision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from earthsignature_assets.assets.metadata import OWNERS, png_picture, table
from earthsignature_assets.assets.progress import progress_of
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.assets.training_set import training_set
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.partitions import model_versions
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


class EvaluationConfig(dg.Config):
    """The samples and the version to compare with."""

    training_set: str = ""
    """Name or folder of the training set; empty for the newest one of the home."""
    split: str = Split.TEST.value
    """Split of the samples: test or validation."""
    compare_with: str = ""
    """Version to compare with; empty for the promoted one."""


@dg.asset(
    partitions_def=model_versions,
    deps=[training_set],
    group_name="models",
    code_version="1",
    tags={"retention": "kept"},
    owners=OWNERS,
    kinds={"onnx"},
    pool="inference",
)
def model_evaluation(
    context: dg.AssetExecutionContext, config: EvaluationConfig, engine: InferenceEngine, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Figures with intervals over places, a picture of input, truth and prediction, and a decision with its reason."""
    # The runs of the chain do not need this import.
    from earthsignature_assets.evaluation.evaluation_report import PAGE, PICTURE, evaluate_version

    with step_faults(context):
        model = ModelVersion.parse(context.partition_key)
        folder = workspace.evaluations_root / str(model)
        current = (
            ModelVersion.parse(config.compare_with)
            if config.compare_with
            else workspace.promoted_model(engine.repository)
        )
        evaluation = evaluate_version(
            engine.repository,
            model,
            current,
            workspace.training_set(config.training_set),
            Split(config.split),
            folder,
            progress_of(context, str(model), "samples"),
        )
        return dg.MaterializeResult(metadata=_metadata(evaluation.figures, folder / PICTURE, folder / PAGE))


def _metadata(figures: Mapping[str, Any], picture: Path, page: Path) -> dict[str, Any]:
    labelled = figures["as_labelled"]
    metadata: dict[str, Any] = {
        "promote": figures["verdict"]["promote"],
        "reason": figures["verdict"]["reason"],
        "compared_with": figures["current"] or "nothing",
        "training_set": f"{figures['set']['name']}, {figures['set']['split']}: {figures['set']['samples']} samples",
        "independence": figures["independence"],
        "overall_accuracy": labelled["overall_accuracy"]["value"],
        "mean_f1": labelled["mean_f1"]["value"],
        "expected_calibration_error": figures["calibration"]["expected_error"]["value"],
        "picture": png_picture(picture.read_bytes()),
        "classes": table([_class_row(name, own) for name, own in labelled["per_class"].items() if own["support"]]),
        "confusion": _matrix(labelled),
        "reliability": table(figures["calibration"]["bins"]),
        "regions": table(
            [
                {"region": name, **_interval("accuracy", found["overall_accuracy"]), "blocks": found["blocks"]}
                for name, found in figures["regions"].items()
            ]
        ),
        "page": dg.MetadataValue.path(str(page)),
    }
    for level, found in figures["levels"].items():
        if found["pixels"]:
            metadata[f"confusion_level_{level}"] = _matrix(found)
    if test := figures["paired_test"]:
        metadata["paired_test"] = table(
            [
                {"figure": "mean F1", **_interval("difference", test["mean_f1"])},
                {"figure": "overall accuracy", **_interval("difference", test["overall_accuracy"])},
                *(
                    {"figure": f"F1 of {name}", **_interval("difference", change)}
                    for name, change in test["per_class_f1"].items()
                ),
            ]
        )
    return metadata


def _class_row(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"class": name}
    for figure in ("recall", "precision", "f1", "iou"):
        row |= _interval(figure, own[figure])
    return row | {"pixels": own["support"], "blocks": own["blocks"]}


def _interval(name: str, interval: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: interval["value"], f"{name}_low": interval["low"], f"{name}_high": interval["high"]}


def _matrix(judged: Mapping[str, Any]) -> dg.TableMetadataValue:
    return table(
        [
            {"truth": name, **dict(zip(judged["classes"], counts, strict=True))}
            for name, counts in zip(judged["classes"], judged["counts"], strict=True)
            if any(counts)
        ]
    )
