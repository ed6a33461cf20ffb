"""Retries of calls and their delays."""

import random
import time
from dataclasses import dataclass, replace
from typing import Self

from earthsignature_assets.errors import EarthSignatureError, ServiceUnavailableError


@dataclass(frozen=True)
class RetryPolicy:
    """The policy of a client's retries.

    Only transient failures are retried (UNAVAILABLE, RESOURCE_EXHAUSTED, and CANCELLED by a server that closes), and
    only until the first response: a half-read stream never restarts. A `RetryInfo` from the service overrides the
    doubling delays.

    Attributes:
        attempts: total number of attempts; 1 never retries.
        first_delay_s: delay before the second attempt; it doubles with each further one, less up to half at random so
            that many clients do not return at once.
        longest_delay_s: longest delay; if the service asks for a longer one, the call fails.
    """

    attempts: int = 4
    first_delay_s: float = 0.25
    longest_delay_s: float = 30.0

    def patient(self) -> Self:
        """Return a policy for endless calls, which outlasts a restart of the service."""
        return replace(self, attempts=5 * self.attempts)


class Attempts:
    """The attempts of a call, within its retry policy and timeout."""

    def __init__(self, policy: RetryPolicy, timeout_s: float) -> None:
        self._policy = policy
        self._made = 0
        self._deadline = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """Time left for the call, over all attempts."""
        return max(0.0, self._deadline - time.monotonic())

    def begin_again(self) -> None:
        """Forget the failures so far, because the call has made progress and resumes there."""
        self._made = 0

    def delay_s(self, fault: EarthSignatureError) -> float:
        """Return the delay before the next attempt.

        Raises:
            EarthSignatureError: the fault itself, if a retry cannot help or the attempts or the time are used up.
        """
        self._made += 1
        if not isinstance(fault, ServiceUnavailableError) or self._made >= self._policy.attempts:
            raise fault
        delay_s = fault.retry_after_s
        if delay_s is None:
            longest = min(self._policy.first_delay_s * 2 ** (self._made - 1), self._policy.longest_delay_s)
            delay_s = longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if delay_s > min(self._policy.longest_delay_s, self.remaining_s):
            raise fault
        return delay_s
