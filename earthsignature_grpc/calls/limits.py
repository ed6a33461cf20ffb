"""What one server grants its clients."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one server grants its clients. What passes a limit is refused with RESOURCE_EXHAUSTED.

    A client is an address, or a /64 network of IPv6; one with a valid token is the token's name instead.

    Attributes:
        request_bytes: the largest request of a method that reads.
        product_bytes: the largest request of CreateProduct; only a server with a token file takes any.
        response_bytes: the largest message that may leave; users were told to accept 1 GiB.
        calls: calls at once.
        calls_of_client: calls at once of one client; 0 for no limit.
        calls_per_s: calls that one client may start in a second, over time; 0 for no limit.
        burst_s: a client that was quiet may start the calls of so many seconds at once.
        request_s: how long a request may take to arrive.
        stall_s: how long a client may leave a message untaken before its call is ended.
        silent_s: after how long without a word a client is asked whether it is still there.
        answer_s: how long it may take to answer that before its calls are ended.
        cache_bytes: what is kept of messages that were sent lately.
        grace_s: how long calls under way may take to finish once the server is told to stop.
    """

    request_bytes: int = 4 << 20
    product_bytes: int = 128 << 20
    response_bytes: int = 1 << 30
    calls: int = 256
    calls_of_client: int = 128
    calls_per_s: float = 200.0
    burst_s: float = 10.0
    request_s: float = 60.0
    stall_s: float = 300.0
    silent_s: float = 60.0
    answer_s: float = 20.0
    cache_bytes: int = 64 << 20
    grace_s: float = 30.0
