"""The runs under way: what they are about must neither be asked for again nor removed."""

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
    """The keys of the scenes that runs under way are about."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    return {scene for run in runs for scene in scenes_of_run(instance, run.tags)}
