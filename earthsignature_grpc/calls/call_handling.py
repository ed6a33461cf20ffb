"""Handling of a call, the same for every method: errors become statuses, and each call is logged in one line."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeAlias

import grpc

from earthsignature_assets.errors import BusyError, EarthSignatureError, OversizeError, QueryError
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.calls.statuses import Refusal, internal_refusal, refusal_of

log = logging.getLogger("earthsignature_grpc")

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
StreamingAnswer: TypeAlias = Callable[[bytes], AsyncGenerator[bytes, None]]
"""Answer of a streaming method: request bytes to the bytes of each response."""
UnaryAnswer: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Answer of a unary method: request bytes to response bytes."""
WritingAnswer: TypeAlias = Callable[[bytes, str], Awaitable[bytes]]
"""Answer of a writing method: request bytes and the writer's name to response bytes."""


def streaming_method(method: str, answer: StreamingAnswer, limits: Limits | None = None) -> MethodHandler:
    """Make a method that streams the responses of `answer`; `method` is its full name, for the log."""
    granted = limits or Limits()

    async def handle(_: object, context: Context) -> None:
        async with _Call(method, context) as call:
            request = await _request(context, granted.request_bytes, granted.request_s)
            async with aclosing(answer(request)) as responses, _Patience(granted.stall_s) as patience:
                async for response in responses:
                    patience.begin()
                    await _send(context, response)
                    patience.end()
                    call.count(response)

    return grpc.stream_stream_rpc_method_handler(handle)


def unary_method(method: str, answer: UnaryAnswer, limits: Limits | None = None) -> MethodHandler:
    """Make a method that sends the response of `answer`; `method` is its full name, for the log."""
    granted = limits or Limits()

    async def handle(_: object, context: Context) -> bytes:
        async with _Call(method, context) as call:
            response = await answer(await _request(context, granted.request_bytes, granted.request_s))
            call.count(response)
        return response

    return grpc.stream_unary_rpc_method_handler(handle)


def writing_method(
    method: str, permit: Callable[[Context], str], answer: WritingAnswer, limits: Limits | None = None
) -> MethodHandler:
    """Make a method that changes the store; unauthorised calls are refused before their request is read.

    Args:
        method: full name of the method, for the log.
        permit: returns the name of the call's writer, or raises CredentialError or RoleError.
        answer: turns the request and the writer's name into the response.
        limits: the limits to apply.
    """
    granted = limits or Limits()

    async def handle(_: object, context: Context) -> bytes:
        async with _Call(method, context, writes=True) as call:
            writer = permit(context)
            request = await _request(context, granted.product_bytes, granted.request_s)
            response = await answer(request, writer)
            call.count(response)
        return response

    return grpc.stream_unary_rpc_method_handler(handle)


def refusing_method(method: str, refusal: Refusal, *, streams: bool = False) -> MethodHandler:
    """Make a method that refuses every call; `streams` says whether its responses would be a stream."""

    async def handle(_: object, context: Context) -> None:
        log.info("%s %s %s", method, refusal.code.name, context.peer())
        await _abort(context, refusal)

    make = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
    return make(handle)


async def _request(context: Context, most_bytes: int, within_s: float) -> bytes:
    """Read the only message of a call."""
    # Methods are declared with a stream of requests, which looks the same on the wire: this way admission and
    # permission come before gRPC allocates memory for the message.
    try:
        async with asyncio.timeout(within_s):
            content: bytes | object = await context.read()
    except TimeoutError as error:
        raise QueryError("request", f"did not arrive within {within_s:g} s; send it when the call begins") from error
    if not isinstance(content, bytes):
        raise QueryError("request", "is missing: the call has no message; an empty one asks for everything")
    if len(content) > most_bytes:
        raise OversizeError(f"the request has {len(content)} bytes, {most_bytes} are allowed; ask for less at once")
    return content


async def _send(context: Context, response: bytes) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        # The call has ended because its client left or its deadline passed. gRPC cancels this task only afterwards.
        raise asyncio.CancelledError("the call has ended") from error


class _Patience:
    """Limit on how long a client may leave a message unread before its call ends.

    One timer for the whole stream checks how long the current message has waited. A timer for each message took a
    tenth of the time of small messages.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._begun: float | None = None
        self._timeout = asyncio.timeout(None)
        self._timer = self._loop.call_later(stall_s, self._look)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise BusyError(
                f"a message was not read within {self._stall_s:g} s; read the stream as it arrives"
            ) from late

    def begin(self) -> None:
        """Note that a message is on offer."""
        self._begun = self._loop.time()

    def end(self) -> None:
        """Note that the client has taken the message."""
        self._begun = None

    def _look(self) -> None:
        now = self._loop.time()
        ends = (now if self._begun is None else self._begun) + self._stall_s
        if ends <= now:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(ends, self._look)


class _Call:
    """A call under way: an error ends it with a status, and its end is logged."""

    def __init__(self, method: str, context: Context, *, writes: bool = False) -> None:
        self._method = method
        self._context = context
        self._writes = writes
        self._started = time.perf_counter()
        self._messages = 0
        self._bytes = 0

    def count(self, response: bytes) -> None:
        self._messages += 1
        self._bytes += len(response)

    async def __aenter__(self) -> "_Call":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        refusal = None
        if isinstance(error, EarthSignatureError):
            refusal = refusal_of(error)
            if self._writes or refusal.code is not grpc.StatusCode.INVALID_ARGUMENT:
                log.warning("%s: %s", self._method, error)
        elif isinstance(error, Exception):  # the last net: the cause goes to the log, not to the client
            refusal = internal_refusal()
            log.error("%s failed", self._method, exc_info=error)
        status = refusal.code.name if refusal else "OK" if error is None else "CANCELLED"
        log.info(
            "%s %s %d messages %d bytes %.0f ms %s",
            self._method,
            status,
            self._messages,
            self._bytes,
            1000 * (time.perf_counter() - self._started),
            self._context.peer(),
        )
        if refusal is not None:
            await _abort(self._context, refusal)


async def _abort(context: Context, refusal: Refusal) -> None:
    await context.abort(refusal.code, refusal.message, refusal.trailing_metadata)
