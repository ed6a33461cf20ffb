"""When a call is tried again, and after how long."""

import random
import time
from dataclasses import dataclass, replace
from typing import Self

from earthsignature_assets.errors import EarthSignatureError, ServiceUnavailableError


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a client is.

    Only what can pass is tried again (UNAVAILABLE, RESOURCE_EXHAUSTED, and CANCELLED by a server that closes), and only
    while nothing has arrived: half a stream is never begun anew. The service's own `RetryInfo` comes before the
    doubling delays.

    Attributes:
        attempts: calls in all; 1 never tries again.
        first_delay_s: before the second call; each further delay is twice as long, less up to a half at random, so
            that many clients do not come back at once.
        longest_delay_s: what no delay exceeds; a service that asks for more is not waited for.
    """

    attempts: int = 4
    first_delay_s: float = 0.25
    longest_delay_s: float = 30.0

    def patient(self) -> Self:
        """For calls without an end of their own: they outlast the restart of a service."""
        return replace(self, attempts=5 * self.attempts)


class Attempts:
    """The attempts of one call: how long is left of its time, and whether another one is due."""

    def __init__(self, policy: RetryPolicy, timeout_s: float) -> None:
        self._policy = policy
        self._made = 0
        self._deadline = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """What is left of the call's time, for all attempts together."""
        return max(0.0, self._deadline - time.monotonic())

    def begin_again(self) -> None:
        """Forget the failures so far: the call has made progress and goes on from there."""
        self._made = 0

    def delay_s(self, fault: EarthSignatureError) -> float:
        """How long to wait before the next attempt.

        Raises:
            EarthSignatureError: the fault itself: a retry cannot help, or the attempts or the time are used up.
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
