"""The active runs, whose scenes must be neither requested again nor removed."""

import dagster as dg

from earthsignature_assets.partitions import scenes_of_run

UNDER_WAY = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def scenes_under_way(instance: dg.DagsterInstance) -> set[str]:
    """Return the keys of the scenes of active runs."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    return {scene for run in runs for scene in scenes_of_run(instance, run.tags)}
