"""How an error of the project becomes a failure of a step: tried again where that can help, terminal where not.

Not by a retry policy: that would try programming errors again as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from earthsignature_assets.errors import EarthSignatureError

MAX_RETRIES = 3
_FIRST_PAUSE_S = 30.0


def pause_s(attempt: int) -> float:
    """Seconds to wait after a failed attempt (0 is the first): 30, 60, 120."""
    return _FIRST_PAUSE_S * 2.0**attempt


@contextmanager
def step_faults(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Fail the step with the error's own message; a retryable one only after three more tries.

    The pauses are 30 s, 1 min and 2 min. Errors that are not the project's pass through and fail the step at once.
    """
    try:
        yield
    except EarthSignatureError as error:
        attempt = context.retry_number
        if error.retryable and attempt < MAX_RETRIES:
            context.log.warning("trying again, because this can pass: %s", error)
            raise dg.RetryRequested(MAX_RETRIES, pause_s(attempt)) from error
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__, "retryable": error.retryable, "tries": attempt + 1},
            allow_retries=False,
        ) from error
