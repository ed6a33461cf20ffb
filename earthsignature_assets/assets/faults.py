"""How an error of the project becomes a failure of a step: retried where that can help, terminal where not."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from earthsignature_assets.errors import EarthSignatureError

RETRIES = dg.RetryPolicy(max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For faults that pass: 30 s, 1 min, 2 min."""


@contextmanager
def step_faults() -> Iterator[None]:
    """Fail the step with the error's own message; only retryable errors are retried."""
    try:
        yield
    except EarthSignatureError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__, "retryable": error.retryable},
            allow_retries=error.retryable,
        ) from error
