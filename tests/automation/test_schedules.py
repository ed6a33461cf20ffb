import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from earthsignature_assets.automation.schedules import daily_discovery, days_to_discover
from earthsignature_assets.resources.horizon import Horizon

TODAY = dt.date(2026, 5, 10)


def dates(*days: int) -> list[dt.date]:
    return [dt.date(2026, 5, day) for day in days]


def test_the_window_ends_before_the_day_of_the_tick() -> None:
    assert days_to_discover(TODAY, 3, set()) == dates(9, 8, 7)
    assert days_to_discover(TODAY, 1, {"2026-05-08"}) == dates(9)


def test_days_that_an_outage_left_are_caught_up() -> None:
    assert days_to_discover(TODAY, 2, {"2026-05-04", "2026-05-03"}) == dates(9, 8, 7, 6, 5)


def test_a_new_deployment_catches_nothing_up_and_an_old_one_not_for_ever() -> None:
    assert days_to_discover(TODAY, 2, {"2026-05-09"}) == dates(9, 8)
    assert len(days_to_discover(TODAY, 2, {"2016-01-01"})) == 92


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


def tick(instance: dg.DagsterInstance, at: dt.datetime) -> list[dg.RunRequest]:
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, resources={"horizon": Horizon(look_back_days=2)}
    ) as context:
        return [request for request in daily_discovery(context) if isinstance(request, dg.RunRequest)]


@pytest.mark.parametrize(
    "at",
    [
        dt.datetime(2026, 5, 10, 6, tzinfo=dt.UTC),
        dt.datetime(2026, 5, 10, 1, tzinfo=ZoneInfo("America/Chicago")),  # the same moment
        dt.datetime(2026, 5, 9, 20, tzinfo=ZoneInfo("Pacific/Honolulu")),  # the same moment, a day earlier there
    ],
)
def test_days_are_those_of_utc_whatever_the_clock_shows(instance: dg.DagsterInstance, at: dt.datetime) -> None:
    assert [request.partition_key for request in tick(instance, at)] == ["2026-05-09", "2026-05-08"]


def test_a_tick_that_is_repeated_asks_for_the_same_and_the_next_day_asks_again(instance: dg.DagsterInstance) -> None:
    first, repeated = (tick(instance, dt.datetime(2026, 5, 10, 6, tzinfo=dt.UTC)) for _ in range(2))
    assert [request.run_key for request in first] == [request.run_key for request in repeated]
    following = tick(instance, dt.datetime(2026, 5, 11, 6, tzinfo=dt.UTC))
    assert not {request.run_key for request in first} & {request.run_key for request in following}
    assert {request.partition_key for request in first} & {request.partition_key for request in following}


@pytest.mark.parametrize("month", [3, 10])
def test_the_nights_in_which_clocks_change_lose_no_day(instance: dg.DagsterInstance, month: int) -> None:
    found = set()
    for day in range(24, 32):
        at = dt.datetime(2026, month, day, 6, tzinfo=dt.UTC).astimezone(ZoneInfo("Europe/Paris"))
        found |= {request.partition_key for request in tick(instance, at)}
    assert found == {dt.date(2026, month, day).isoformat() for day in range(22, 31)}
