"""One call, whatever its method: errors become statuses, and each call leaves one line in the log."""

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
"""From the bytes of a request to the bytes of each response."""
UnaryAnswer: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""From the bytes of a request to the bytes of its response."""
WritingAnswer: TypeAlias = Callable[[bytes, str], Awaitable[bytes]]
"""From the bytes of a request and the name of its writer to the bytes of its response."""


def streaming_method(method: str, answer: StreamingAnswer, limits: Limits | None = None) -> MethodHandler:
    """The method that streams what `answer` yields; `method` is its full name, for the log."""
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
    """The method that sends what `answer` returns; `method` is its full name, for the log."""
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
    """The method that changes the store: who may not is refused before a byte of the request is taken.

    Args:
        method: its full name, for the log.
        permit: from the call to the name of its writer; raises what the others are refused with.
        answer: from the request and the writer's name to the response.
        limits: what is granted.
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
    """The method that answers every call with one refusal; `streams` says whether its responses would be a stream."""

    async def handle(_: object, context: Context) -> None:
        log.info("%s %s %s", method, refusal.code.name, context.peer())
        await _abort(context, refusal)

    make = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
    return make(handle)


async def _request(context: Context, most_bytes: int, within_s: float) -> bytes:
    """The one message of a call."""
    # Methods are declared with a stream of requests, which on the wire is the same: so admission and permission
    # come before gRPC makes room for the message, and not after.
    try:
        async with asyncio.timeout(within_s):
            content: bytes | object = await context.read()
    except TimeoutError as error:
        raise QueryError("request", f"did not arrive within {within_s:g} s; send it with the call") from error
    if not isinstance(content, bytes):
        raise QueryError("request", "is missing: the call has no message; an empty one asks for everything")
    if len(content) > most_bytes:
        raise OversizeError(f"the request has {len(content)} bytes, {most_bytes} are allowed; ask for less at once")
    return content


async def _send(context: Context, response: bytes) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        # A call that has ended takes no message: its client left or its deadline passed. That this task is cancelled
        # gRPC tells it only afterwards.
        raise asyncio.CancelledError("the call has ended") from error


class _Patience:
    """Ends a call whose client leaves a message untaken for too long.

    One timer for the whole stream, which looks how long the present message has waited: a timer for each message took
    a tenth of the time of small ones.
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
                f"a message was not taken within {self._stall_s:g} s; read the stream as it comes"
            ) from late

    def begin(self) -> None:
        """A message is offered."""
        self._begun = self._loop.time()

    def end(self) -> None:
        """It was taken."""
        self._begun = None

    def _look(self) -> None:
        now = self._loop.time()
        ends = (now if self._begun is None else self._begun) + self._stall_s
        if ends <= now:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(ends, self._look)


class _Call:
    """A call under way: what leaves it as an error ends it with a status, and its end is logged."""

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
        elif isinstance(error, Exception):  # the last net: a client is told nothing of the cause, the log everything
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
