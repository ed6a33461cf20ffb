from collections.abc import Callable

import dagster as dg
import pytest

from earthsignature_assets.assets import step_failures
from earthsignature_assets.assets.step_failures import step_faults
from earthsignature_assets.errors import BandError, ProviderUnavailableError


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_failures, "_FIRST_PAUSE_S", 0.0)


def materialise(fail: Callable[[int], None]) -> tuple[int, dg.ExecuteInProcessResult]:
    """Materialise an asset whose every attempt calls `fail` with its number; returns how many there were."""
    attempts: list[int] = []

    @dg.asset
    def fragile(context: dg.AssetExecutionContext) -> None:
        attempts.append(context.retry_number)
        with step_faults(context):
            fail(context.retry_number)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([fragile], instance=instance, raise_on_error=False)
    return len(attempts), result


def message(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)


def test_a_transient_error_is_retried_until_success() -> None:
    def fail(attempt: int) -> None:
        if attempt < 2:
            raise ProviderUnavailableError("the provider is down")

    attempts, result = materialise(fail)
    assert (attempts, result.success) == (3, True)


def test_a_lasting_transient_error_fails_with_its_message() -> None:
    def fail(_: int) -> None:
        raise ProviderUnavailableError("the provider is down")

    attempts, result = materialise(fail)
    assert (attempts, result.success) == (4, False)
    assert "the provider is down" in message(result)


@pytest.mark.parametrize("error", [BandError("band B04 is gone"), ZeroDivisionError("band B04 is gone")])
def test_other_errors_are_not_retried(error: Exception) -> None:
    def fail(_: int) -> None:
        raise error

    attempts, result = materialise(fail)
    assert (attempts, result.success) == (1, False)
    assert "band B04 is gone" in message(result)
