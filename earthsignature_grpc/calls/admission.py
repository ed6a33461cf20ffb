"""Admission: each call is checked against the limits before the server reads a byte of its request.

One interceptor wraps every method, health and reflection included, so that no service can forget it.
"""

import asyncio
import ipaddress
import logging
import time
import urllib.parse
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from inspect import isasyncgenfunction
from typing import Any, TypeAlias

import grpc

from earthsignature_assets.errors import BusyError, ServiceUnavailableError
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.calls.statuses import refusal_of

log = logging.getLogger("earthsignature_grpc")

MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

_CLIENTS_REMEMBERED = 10_000


class Admission(grpc.aio.ServerInterceptor):
    """Gate that refuses calls above the limits of a client or the server, and every call once the server stops."""

    def __init__(
        self,
        limits: Limits,
        name_of: Callable[[Mapping[str, str]], str | None] = lambda _: None,
        stopping: asyncio.Event | None = None,
    ) -> None:
        """Create the gate.

        Args:
            limits: the limits to apply.
            name_of: returns the name of the valid credential in a call's metadata, or None.
            stopping: set once the server begins to stop.
        """
        self._limits = limits
        self._name_of = name_of
        self._stopping = stopping or asyncio.Event()
        self._under_way: Counter[str] = Counter()
        self._all_under_way = 0
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def calls_under_way(self) -> int:
        """Number of calls under way."""
        return self._all_under_way

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MethodHandler:
        """Wrap the called method in the gate."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = {key: value for key, value in handler_call_details.invocation_metadata or () if type(value) is str}
        name = self._name_of(metadata)
        guarded: dict[str, Any] = {
            kind: self._guarded(behaviour, name)
            for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
            if (behaviour := getattr(handler, kind)) is not None
        }
        ((kind, behaviour),) = guarded.items()
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        made: MethodHandler = make(behaviour, handler.request_deserializer, handler.response_serializer)
        return made

    def _guarded(self, behaviour: Callable[..., Any], name: str | None) -> Callable[..., Any]:
        if isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Any) -> AsyncGenerator[Any, None]:
                try:
                    with self._admitted(name or client_of(context.peer())):
                        async with aclosing(behaviour(request, context)) as answers:
                            async for answer in answers:
                                yield answer
                except (BusyError, ServiceUnavailableError) as error:
                    await _abort(context, error)

            return generate

        async def handle(request: Any, context: Any) -> Any:
            try:
                with self._admitted(name or client_of(context.peer())):
                    return await behaviour(request, context)
            except (BusyError, ServiceUnavailableError) as error:
                return await _abort(context, error)

        return handle

    @contextmanager
    def _admitted(self, client: str) -> Iterator[None]:
        limits = self._limits
        if self._stopping.is_set():
            raise ServiceUnavailableError("the server is stopping; retry the call, here or on another server", 1.0)
        if self._all_under_way >= limits.calls:
            raise BusyError(f"{limits.calls} calls are under way, the limit of this server")
        if limits.calls_of_client and self._under_way[client] >= limits.calls_of_client:
            raise BusyError(f"{limits.calls_of_client} of your calls are under way; let one finish")
        self._spend(client)
        self._under_way[client] += 1
        self._all_under_way += 1
        try:
            yield
        finally:
            self._all_under_way -= 1
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    def _spend(self, client: str) -> None:
        """Take one call from a client's allowance, which refills at the granted rate up to the burst."""
        rate = self._limits.calls_per_s
        if not rate:
            return
        most, now = max(1.0, rate * self._limits.burst_s), time.monotonic()
        allowance, at = self._allowances.pop(client, (most, now))
        allowance = min(most, allowance + (now - at) * rate)
        spent = allowance >= 1
        self._allowances[client] = (allowance - 1 if spent else allowance, now)
        if len(self._allowances) > _CLIENTS_REMEMBERED:
            self._allowances.popitem(last=False)
        if not spent:
            raise BusyError(f"more than {rate:g} calls a second; wait a moment", retry_after_s=(1 - allowance) / rate)


def client_of(peer: str) -> str:
    """Return the client behind a peer such as `ipv4:127.0.0.1:50000`: the address without its port, or the IPv6 /64."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    if kind == "ipv6":
        try:
            address = ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return peer
        if address.ipv4_mapped is not None:
            return f"ipv4:{address.ipv4_mapped}"
        if address.is_loopback:
            return f"ipv6:{address}"
        return f"ipv6:{ipaddress.IPv6Network((address, 64), strict=False)}"
    return f"{kind}:{host or rest}"


async def _abort(context: Any, error: BusyError | ServiceUnavailableError) -> None:
    refusal = refusal_of(error)
    log.warning("refused %s: %s", context.peer(), error)
    await context.abort(refusal.code, refusal.message, refusal.trailing_metadata)
