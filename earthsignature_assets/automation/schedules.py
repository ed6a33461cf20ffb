"""The schedules: when days are discovered."""

import dagster as dg

from earthsignature_assets.automation.jobs import discovery_job

daily_discovery = dg.build_schedule_from_partitioned_job(
    discovery_job,
    name="daily_discovery",
    hour_of_day=6,
    description="Every morning (UTC): discover and judge the scenes of the day before.",
)
