"""The sensor that adds model versions as partitions and removes retired ones."""

from collections.abc import Set

import dagster as dg

from earthsignature_assets.errors import EarthSignatureError, InvalidKeyError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, superseded_versions
from earthsignature_assets.partitions import model_versions
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds each version of the model repository as a partition and removes retired ones. Starts no run.",
)
def registered_models(
    context: dg.SensorEvaluationContext, engine: InferenceEngine, workspace: Workspace
) -> dg.SensorResult:
    """Bring the keys of `model_version` in line with the repository; published products stay.

    A key that is not a model version is removed and logged, because Dagster drops partitions whose key has a `|`
    without a message.
    """
    there = set(context.instance.get_dynamic_partitions(str(model_versions.name)))
    active = active_versions(context, engine.repository, workspace, there)
    nonsense = {key for key in there if _not_a_model_version(context, key)}
    added = sorted({str(model) for model in active} - there)
    removed = sorted(nonsense | (there & {str(model) for model in workspace.retired_models.all()}))
    requests = list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]()
    if added:
        context.log.info("new model versions: %s", ", ".join(added))
        requests.append(model_versions.build_add_request(added))
    if removed:
        context.log.info("partitions removed: %s", ", ".join(removed))
        requests.append(model_versions.build_delete_request(removed))
    return dg.SensorResult(
        skip_reason=f"{len(added)} added, {len(removed)} removed, {len(active)} active",
        dynamic_partitions_requests=requests,
    )


def active_versions(
    context: dg.SensorEvaluationContext, repository: ModelRepository, workspace: Workspace, there: Set[str]
) -> list[ModelVersion]:
    """Return the active versions of a repository; log an incomplete version, such as one that is still being copied.

    Retired versions are not active, nor are shipped versions that a newer one supersedes, unless they are partitions
    already (`there`).
    """
    retired, superseded, found = workspace.retired_models.all(), superseded_versions(repository), []
    for model in repository.versions():
        if model in retired or (model in superseded and str(model) not in there):
            continue
        try:
            repository.graph(model)
        except EarthSignatureError as error:
            context.log.warning("%s does not take part: %s", model, error)
        else:
            found.append(model)
    return found


def _not_a_model_version(context: dg.SensorEvaluationContext, key: str) -> bool:
    try:
        ModelVersion.parse(key)
    except InvalidKeyError as error:
        context.log.warning("partition removed: %s", error)
        return True
    return False
