"""One run of the job `land_cover` in a separate process: `python -m benchmarks.land_cover_run FIRST LAST`.

Two equal keys give a daily run, two different keys a batch of a backfill.
"""

import sys

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from earthsignature_assets.automation.jobs import land_cover_job
from earthsignature_assets.definitions import defs


def main(first: str, last: str) -> None:
    """Materialise on the instance of DAGSTER_HOME; errors of the step propagate."""
    job = defs.resolve_job_def(land_cover_job.name)
    with dg.DagsterInstance.get() as instance:
        if first == last:
            job.execute_in_process(instance=instance, partition_key=first)
        else:
            tags = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
            job.execute_in_process(instance=instance, tags=tags)


if __name__ == "__main__":
    main(*sys.argv[1:])
