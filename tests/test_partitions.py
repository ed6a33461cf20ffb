import datetime as dt
import time
from collections.abc import Iterator

import pytest

from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import day_of, days, scene_and_model, scene_model_key

SCENE, MODEL = SceneKey.parse("2026-05-01_R022_T32TQM"), ModelVersion("corine-unet", 1)


@pytest.fixture(params=["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set the machine's time zone: one where it is already tomorrow, one where it is still yesterday."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_day_that_is_not_over_in_utc_is_refused_in_every_time_zone(zone: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    yesterday = today - dt.timedelta(days=1)
    assert day_of(yesterday.isoformat()) == yesterday
    for day in (today, today + dt.timedelta(days=1), dt.date(2099, 1, 1)):
        with pytest.raises(InvalidKeyError, match=rf"{day} is not over yet \(UTC\): discover it from the"):
            day_of(day.isoformat())


def test_the_29th_of_february_is_a_day_in_leap_years_only() -> None:
    assert day_of("2024-02-29") == dt.date(2024, 2, 29)
    with pytest.raises(InvalidKeyError, match="'2023-02-29' is not a day such as 2026-05-01"):
        day_of("2023-02-29")


@pytest.mark.parametrize("text", ["", "nonsense", "2026-13-01", "01.05.2026", "2026-05-01|corine-unet-v1"])
def test_an_invalid_day_is_named(text: str) -> None:
    with pytest.raises(InvalidKeyError, match="is not a day such as"):
        day_of(text)


def test_days_begin_with_sentinel_2() -> None:
    assert day_of("2015-07-04") == dt.date(2015, 7, 4)
    with pytest.raises(InvalidKeyError, match="before the first public images"):
        day_of("2015-07-03")


@pytest.mark.parametrize("first", [dt.date(2024, 2, 27), dt.date(2026, 3, 27), dt.date(2026, 10, 23)])
def test_every_day_is_one_partition_in_leap_years_and_when_clocks_change(zone: str, first: dt.date) -> None:
    """A day becomes a partition at its end in UTC, and not before."""
    for number in range(5):
        midnight = dt.datetime.combine(first + dt.timedelta(days=number), dt.time(), dt.UTC)
        before, after = (
            days.get_partition_keys(current_time=midnight + dt.timedelta(seconds=seconds)) for seconds in (-1, 0)
        )
        assert before[-1] == (midnight.date() - dt.timedelta(days=2)).isoformat()
        assert after == [*before, (midnight.date() - dt.timedelta(days=1)).isoformat()]


def test_a_scene_and_model_read_back_what_they_wrote() -> None:
    assert scene_and_model(scene_model_key(SCENE, MODEL)) == (SCENE, MODEL)
    assert str(scene_model_key(SCENE, MODEL)) == f"{MODEL}|{SCENE}"


@pytest.mark.parametrize(("key", "part"), [(f"Corine|{SCENE}", "'Corine'"), (f"{MODEL}|nonsense", "'nonsense'")])
def test_a_part_that_does_not_parse_is_named(key: str, part: str) -> None:
    with pytest.raises(InvalidKeyError, match=part):
        scene_and_model(key)
