import datetime as dt
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import cast
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from earthsignature_assets.automation.retention import nightly_patch_retention
from earthsignature_assets.automation.schedules import daily_discovery, days_to_discover
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

TODAY = dt.date(2026, 5, 10)


def dates(*days: int) -> list[dt.date]:
    return [dt.date(2026, 5, day) for day in days]


def test_the_window_ends_before_the_day_of_the_tick() -> None:
    assert days_to_discover(TODAY, 3, set()) == dates(9, 8, 7)
    assert days_to_discover(TODAY, 1, {"2026-05-08"}) == dates(9)


def test_days_without_verdicts_after_an_outage_are_caught_up() -> None:
    assert days_to_discover(TODAY, 2, {"2026-05-04", "2026-05-03"}) == dates(9, 8, 7, 6, 5)


def test_a_new_deployment_catches_up_nothing_and_an_old_one_a_limited_number_of_days() -> None:
    assert days_to_discover(TODAY, 2, {"2026-05-09"}) == dates(9, 8)
    assert len(days_to_discover(TODAY, 2, {"2016-01-01"})) == 92


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


def tick(instance: dg.DagsterInstance, at: dt.datetime) -> list[dg.RunRequest]:
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        resources={"discovery_window": DiscoveryWindow(look_back_days=2)},
    ) as context:
        answers = cast("Iterable[object]", daily_discovery(context))
        return [request for request in answers if isinstance(request, dg.RunRequest)]


@pytest.mark.parametrize(
    "at",
    [
        dt.datetime(2026, 5, 10, 6, tzinfo=dt.UTC),
        dt.datetime(2026, 5, 10, 1, tzinfo=ZoneInfo("America/Chicago")),  # the same moment
        dt.datetime(2026, 5, 9, 20, tzinfo=ZoneInfo("Pacific/Honolulu")),  # the same moment, a day earlier there
    ],
)
def test_days_are_days_of_utc(instance: dg.DagsterInstance, at: dt.datetime) -> None:
    assert [request.partition_key for request in tick(instance, at)] == ["2026-05-09", "2026-05-08"]


def test_a_repeated_tick_requests_the_same_and_the_next_day_requests_again(instance: dg.DagsterInstance) -> None:
    first, repeated = (tick(instance, dt.datetime(2026, 5, 10, 6, tzinfo=dt.UTC)) for _ in range(2))
    assert [request.run_key for request in first] == [request.run_key for request in repeated]
    following = tick(instance, dt.datetime(2026, 5, 11, 6, tzinfo=dt.UTC))
    assert not {request.run_key for request in first} & {request.run_key for request in following}
    assert {request.partition_key for request in first} & {request.partition_key for request in following}


@pytest.mark.parametrize("month", [3, 10])
def test_the_nights_in_which_clocks_change_lose_no_day(instance: dg.DagsterInstance, month: int) -> None:
    found = set()
    for day in range(24, 32):
        at = dt.datetime(2026, month, day, 6, tzinfo=dt.UTC).astimezone(ZoneInfo("Europe/Berlin"))
        found |= {request.partition_key for request in tick(instance, at)}
    assert found == {dt.date(2026, month, day).isoformat() for day in range(22, 31)}


def test_leap_days_and_new_years_days_are_discovered() -> None:
    assert days_to_discover(dt.date(2028, 3, 1), 2, set()) == [dt.date(2028, 2, 29), dt.date(2028, 2, 28)]
    assert days_to_discover(dt.date(2027, 1, 1), 1, {"2026-12-29"}) == [dt.date(2026, 12, day) for day in (31, 30)]


@pytest.mark.parametrize("schedule", [daily_discovery, nightly_patch_retention])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Chicago"])
@pytest.mark.parametrize("first", [dt.date(2026, 3, 27), dt.date(2026, 10, 23), dt.date(2028, 2, 27)])
def test_ticks_are_a_day_apart_across_clock_changes(
    schedule: dg.ScheduleDefinition, zone: str, first: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the daemon's own reckoning, on a machine whose clock changes in that week."""
    begin = dt.datetime.combine(first, dt.time(), dt.UTC)
    with monkeypatch.context() as machine:
        machine.setenv("TZ", zone)
        time.tzset()
        cron, own_zone = schedule.cron_schedule, schedule.execution_timezone
        ticks = list(islice(schedule_execution_time_iterator(begin.timestamp(), cron, own_zone), 6))
    time.tzset()
    hour = {"daily_discovery": 6, "nightly_patch_retention": 3}[schedule.name]
    assert ticks == [begin + dt.timedelta(days=number, hours=hour) for number in range(6)]
