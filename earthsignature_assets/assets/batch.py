"""The scene × model partitions of one run: a single one, or a batch of a backfill.

A run costs seconds of processor time before its first step, so a backfill takes ten partitions a run. A failed
partition does not affect the others of the batch in that step: they are recorded before the step fails.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from earthsignature_assets.assets.checks.finding import Finding, check_results
from earthsignature_assets.assets.metadata import OWNERS
from earthsignature_assets.assets.step_failures import MAX_RETRIES, pause_s, step_faults
from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import scene_and_model, scene_models

PARTITIONS_A_RUN = 10
"""Number of scene × model partitions of a backfill that share a run."""

Metadata = Mapping[str, Any]
MadeT = TypeVar("MadeT")


def scene_model_asset(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorate an asset that is partitioned by scene × model version and can be made in batches."""
    with warnings.catch_warnings():
        # In beta, and the only way to run several partitions at once.
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        policy = dg.BackfillPolicy.multi_run(max_partitions_per_run=PARTITIONS_A_RUN)
        asset: Callable[[Callable[..., Any]], dg.AssetsDefinition]
        asset = dg.asset(partitions_def=scene_models, backfill_policy=policy, owners=OWNERS, **options)
        return asset


def materialise_each(
    context: dg.AssetExecutionContext,
    make: Callable[[SceneKey, ModelVersion], Metadata],
    check: Callable[[SceneKey, ModelVersion], Sequence[Finding]] = lambda *_: (),
) -> dg.MaterializeResult[None]:
    """Call `make` for each scene × model version of the run, then `check`.

    `make` returns the metadata of the partition; the findings of `check` answer the check specs of the asset.

    A single partition fails and is retried by `step_faults`. A batch retries the partitions with transient errors
    within the step.

    Raises:
        dg.Failure: a partition failed finally; the message names each failed partition of a batch.
    """
    if len(context.partition_keys) == 1:
        with step_faults(context):
            (key,) = context.partition_keys
            metadata = make(*scene_and_model(key))
            return dg.MaterializeResult(
                metadata=metadata, check_results=check_results({key: check(*scene_and_model(key))})
            )

    def make_and_check(scene: SceneKey, model: ModelVersion) -> tuple[Metadata, Sequence[Finding]]:
        return make(scene, model), check(scene, model)

    made: dict[str, tuple[Metadata, Sequence[Finding]]] = {}
    try:
        faults = _make_batch(context, make_and_check, made)
    except BaseException:
        _record(context, made)
        raise
    if not faults:
        for key, (metadata, _) in made.items():
            context.add_asset_metadata(metadata, partition_key=key)
        return dg.MaterializeResult(check_results=check_results({key: findings for key, (_, findings) in made.items()}))
    _record(context, made)
    raise dg.Failure(
        description=f"{len(faults)} of {len(context.partition_keys)} partitions failed, the others are recorded and "
        "can continue without them: " + "; ".join(f"{key}: {error}" for key, error in faults.items()),
        metadata={key: type(error).__name__ for key, error in faults.items()},
        allow_retries=False,
    )


def _record(context: dg.AssetExecutionContext, made: Mapping[str, tuple[Metadata, Sequence[Finding]]]) -> None:
    """Record the finished partitions of a step that fails."""
    for key, (metadata, _) in made.items():
        parts = scene_models.get_partition_key_from_str(key).keys_by_dimension
        tags = {f"dagster/partition/{dimension}": part for dimension, part in parts.items()}
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata, tags=tags))


def _make_batch(
    context: dg.AssetExecutionContext, make: Callable[[SceneKey, ModelVersion], MadeT], made: dict[str, MadeT]
) -> dict[str, EarthSignatureError]:
    """Add the results to `made`; return the errors of the failed partitions."""
    faults: dict[str, EarthSignatureError] = {}
    pending = list(context.partition_keys)
    for attempt in range(MAX_RETRIES + 1):
        for key in pending:
            try:
                made[key] = make(*scene_and_model(key))
                faults.pop(key, None)
            except EarthSignatureError as error:
                context.log.warning("%s failed: %s", key, error)
                faults[key] = error
        pending = [key for key, error in faults.items() if error.retryable]
        if not pending or attempt == MAX_RETRIES:
            break
        context.log.warning("retrying %d partitions, because their errors are transient", len(pending))
        time.sleep(pause_s(attempt))
    return faults
