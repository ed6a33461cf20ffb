"""One call, whatever its method: errors become statuses, and each call leaves one line in the log."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

import grpc

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_grpc.errors import Refusal, internal_refusal, refusal_of

log = logging.getLogger("earthsignature_grpc")

Answer: TypeAlias = Callable[[bytes], AsyncGenerator[bytes, None]]
"""From the bytes of a request to the bytes of each response."""
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = Callable[[bytes, Context], Awaitable[None]]


def streaming_handler(method: str, answer: Answer) -> Handler:
    """The grpc.aio handler that streams what `answer` yields."""

    async def handle(request: bytes, context: Context) -> None:
        started, messages, size, status = time.perf_counter(), 0, 0, "CANCELLED"
        try:
            async with aclosing(answer(request)) as responses:
                async for response in responses:
                    await context.write(response)
                    messages += 1
                    size += len(response)
            status = "OK"
        except EarthSignatureError as error:
            refusal = refusal_of(error)
            status = refusal.code.name
            if refusal.code is not grpc.StatusCode.INVALID_ARGUMENT:
                log.warning("%s: %s", method, error)
            await _abort(context, refusal)
        except asyncio.CancelledError:
            raise
        except Exception:  # the last net: a client is told nothing of the cause, the log everything
            status = grpc.StatusCode.INTERNAL.name
            log.exception("%s failed", method)
            await _abort(context, internal_refusal())
        finally:
            log.info(
                "%s %s %d messages %d bytes %.0f ms %s",
                method,
                status,
                messages,
                size,
                1000 * (time.perf_counter() - started),
                context.peer(),
            )

    return handle


def refusing_handler(method: str, refusal: Refusal) -> Handler:
    """The grpc.aio handler of a method that answers every call with one refusal."""

    async def handle(request: bytes, context: Context) -> None:
        log.info("%s %s %d bytes sent %s", method, refusal.code.name, len(request), context.peer())
        await _abort(context, refusal)

    return handle


async def _abort(context: Context, refusal: Refusal) -> None:
    await context.abort(refusal.code, refusal.message, refusal.trailing_metadata)
