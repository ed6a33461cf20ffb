"""The time that a message may wait to be read, and what does not count as waiting."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import grpc
import pytest

from earthsignature_grpc.calls.call_handling import StreamingAnswer, streaming_method
from earthsignature_grpc.calls.limits import Limits
from tests.raw_calls import unary_stream

STALL_S = 1.0


async def _received(answer: StreamingAnswer, take: Callable[[int], float]) -> list[int]:
    """Return the sizes of the messages that a client reads, pausing `take(number)` seconds after each."""
    server = grpc.aio.server()
    method = streaming_method("test.Service/Method", answer, Limits(stall_s=STALL_S))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", {"Method": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sizes = []
    options = [("grpc.max_receive_message_length", -1)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            async for message in unary_stream(channel, "/test.Service/Method")(b"", timeout=20):
                sizes.append(len(message))
                await asyncio.sleep(take(len(sizes)))
    finally:
        await server.stop(None)
    return sizes


async def test_a_steadily_read_stream_is_not_ended() -> None:
    async def answer(request: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(100):
            yield bytes(1 << 20)

    assert await _received(answer, lambda _: 0.02) == [1 << 20] * 100


async def test_a_slow_answer_does_not_count_as_a_slow_client() -> None:
    async def answer(_: bytes) -> AsyncGenerator[bytes, None]:
        for pause in (0, 3 * STALL_S, 1.5 * STALL_S):
            await asyncio.sleep(pause)
            yield b"x"

    assert await _received(answer, lambda _: 0) == [1, 1, 1]


async def test_one_unread_message_after_others_ends_the_call() -> None:
    async def answer(request: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(12):
            yield bytes(16 << 20)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _received(answer, lambda number: 3 * STALL_S if number == 4 else 0)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "was not read within 1 s" in (caught.value.details() or "")
