"""The schedule of the daily discovery."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.automation.jobs import discovery_job
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

_MOST_DAYS_TO_CATCH_UP = 90


@dg.schedule(
    job=discovery_job,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    description="Every morning (UTC): discover the days of the look-back window and give verdicts; scenes arrive late.",
)
def daily_discovery(
    context: dg.ScheduleEvaluationContext, discovery_window: DiscoveryWindow
) -> Iterator[dg.RunRequest]:
    """Request the days of the window, newest first, and earlier days without verdicts after an outage.

    The last day is the one before the tick (UTC). Earlier days are requested back to the newest day with verdicts, at
    most 90: a deployment that was off for a month has no gap after the next tick.
    """
    today = context.scheduled_execution_time.astimezone(dt.UTC).date()
    judged = context.instance.get_materialized_partitions(clear_scenes.key)
    for day in days_to_discover(today, discovery_window.look_back_days, judged):
        yield dg.RunRequest(run_key=f"{today} {day}", partition_key=day.isoformat())


def days_to_discover(today: dt.date, look_back_days: int, judged: set[str]) -> list[dt.date]:
    """Return the days to discover on a morning, newest first.

    Args:
        today: the day of the tick (UTC), which is not over and thus not part of the result.
        look_back_days: days before it that are always discovered; at least 1.
        judged: days with verdicts, as ISO dates.
    """
    found = [today - dt.timedelta(days=n) for n in range(1, max(look_back_days, 1) + 1)]
    before = found[-1] - dt.timedelta(days=1)
    if not any(day < found[-1].isoformat() for day in judged):
        return found
    for _ in range(_MOST_DAYS_TO_CATCH_UP):
        if before.isoformat() in judged:
            break
        found.append(before)
        before -= dt.timedelta(days=1)
    return found
