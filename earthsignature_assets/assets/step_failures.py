"""The failures of steps: retryable errors of the project are retried, all others are final.

A retry policy of Dagster would retry programming errors too.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from earthsignature_assets.errors import EarthSignatureError

MAX_RETRIES = 3
_FIRST_PAUSE_S = 30.0


def pause_s(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt (0 is the first): 30, 60, 120."""
    return _FIRST_PAUSE_S * 2.0**attempt


@contextmanager
def step_faults(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Fail the step with the message of the error; retry a retryable error three times before.

    The pauses are 30 s, 1 min and 2 min. Errors from outside the project pass through and fail the step at once.
    """
    try:
        yield
    except EarthSignatureError as error:
        attempt = context.retry_number
        if error.retryable and attempt < MAX_RETRIES:
            context.log.warning("retrying, because the error is transient: %s", error)
            raise dg.RetryRequested(MAX_RETRIES, pause_s(attempt)) from error
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__, "retryable": error.retryable, "tries": attempt + 1},
            allow_retries=False,
        ) from error
