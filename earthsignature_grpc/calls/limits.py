"""Limits that a server sets for its clients."""

from dataclasses import dataclass

from earthsignature_assets.system.settings import Settings


@dataclass(frozen=True)
class Limits:
    """Limits that a server sets for its clients; calls beyond them are refused with RESOURCE_EXHAUSTED.

    A client is an IPv4 address or an IPv6 /64 network. A call with a valid token counts for the token's name instead.

    Attributes:
        request_bytes: largest request of a method that reads.
        product_bytes: largest request of CreateProduct, which only a server with a token file accepts.
        response_bytes: largest response message; the documentation tells users to accept 1 GiB.
        calls: concurrent calls.
        calls_of_client: concurrent calls of one client; 0 for no limit.
        calls_per_s: calls that one client may start per second on average; 0 for no limit.
        burst_s: seconds of allowance that an idle client saves up and may spend at once.
        request_s: time for a request to arrive.
        stall_s: time that a client may leave a message unread before its call ends.
        silent_s: silence after which the server pings a client.
        answer_s: time to answer that ping before the client's calls end.
        cache_bytes: memory for recently sent messages.
        grace_s: time for calls under way to finish once the server begins to stop.
    """

    request_bytes: int = Settings.max_request_mib << 20
    product_bytes: int = Settings.max_product_mib << 20
    response_bytes: int = 1 << 30
    calls: int = Settings.calls
    calls_of_client: int = Settings.calls_of_client
    calls_per_s: float = Settings.calls_per_second
    burst_s: float = 10.0
    request_s: float = 60.0
    stall_s: float = 300.0
    silent_s: float = 60.0
    answer_s: float = 20.0
    cache_bytes: int = Settings.cache_mib << 20
    grace_s: float = 30.0
