"""One call, whatever its method: errors become statuses, and each call leaves one line in the log."""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

import grpc

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_grpc.errors import Refusal, internal_refusal, refusal_of

log = logging.getLogger("earthsignature_grpc")

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
StreamingAnswer: TypeAlias = Callable[[bytes], AsyncGenerator[bytes, None]]
"""From the bytes of a request to the bytes of each response."""
UnaryAnswer: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""From the bytes of a request to the bytes of its response."""


def streaming_method(method: str, answer: StreamingAnswer) -> MethodHandler:
    """The method that streams what `answer` yields; `method` is its full name, for the log."""

    async def handle(request: bytes, context: Context) -> None:
        async with _Call(method, context) as call, aclosing(answer(request)) as responses:
            async for response in responses:
                await context.write(response)
                call.count(response)

    return grpc.unary_stream_rpc_method_handler(handle)


def unary_method(method: str, answer: UnaryAnswer) -> MethodHandler:
    """The method that sends what `answer` returns; `method` is its full name, for the log."""

    async def handle(request: bytes, context: Context) -> bytes:
        async with _Call(method, context) as call:
            response = await answer(request)
            call.count(response)
        return response

    return grpc.unary_unary_rpc_method_handler(handle)


def refusing_method(method: str, refusal: Refusal, *, streams: bool = False) -> MethodHandler:
    """The method that answers every call with one refusal; `streams` says whether its responses would be a stream."""

    async def handle(request: bytes, context: Context) -> None:
        log.info("%s %s %d bytes sent %s", method, refusal.code.name, len(request), context.peer())
        await _abort(context, refusal)

    make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    return make(handle)


class _Call:
    """A call under way: what leaves it as an error ends it with a status, and its end is logged."""

    def __init__(self, method: str, context: Context) -> None:
        self._method = method
        self._context = context
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
            if refusal.code is not grpc.StatusCode.INVALID_ARGUMENT:
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
