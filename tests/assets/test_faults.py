import dagster as dg
import pytest

from earthsignature_assets.assets.faults import step_faults
from earthsignature_assets.errors import BandError, ProviderUnavailableError


@pytest.mark.parametrize(("error", "retried"), [(ProviderUnavailableError, True), (BandError, False)])
def test_only_what_can_pass_is_retried(error: type[Exception], retried: bool) -> None:
    with pytest.raises(dg.Failure, match="band B04 is gone") as failure, step_faults():
        raise error("band B04 is gone")
    assert failure.value.allow_retries is retried


def test_a_programming_error_is_left_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), step_faults():
        raise ZeroDivisionError
