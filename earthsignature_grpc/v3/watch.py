"""`WatchProducts`: a stream of products as they are published, by any process."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from earthsignature_assets.errors import QueryError, ServiceUnavailableError
from earthsignature_grpc.calls.call_handling import StreamingAnswer
from earthsignature_grpc.messages.earthsignature.v3 import WatchProductsRequest
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.filters import filter_query, product_test
from earthsignature_grpc.v3.page_tokens import cursor, parse_cursor
from earthsignature_grpc.v3.products import product_fields
from earthsignature_grpc.wire.strict_decoding import decode_request, encode

DEFAULT_HEARTBEAT_S, MAX_HEARTBEAT_S = 30, 300

_POLL_S = 0.5
_CHANGES_AT_ONCE = 100
_RESPONSE = "earthsignature.v3.WatchProductsResponse"


class LatestChange:
    """The number of the catalogue's latest change, read at most twice a second for all watches together.

    The pipeline publishes from other processes and machines, through SQLite or PostGIS. Polling takes a tenth of a
    millisecond and works with both.
    """

    def __init__(self, reader: ProductReader, threads: ThreadPoolExecutor) -> None:
        self._reader = reader
        self._threads = threads
        self._asked_at = float("-inf")
        self._answer: asyncio.Future[int] | None = None

    async def number(self) -> int:
        """Return the number, at most half a second old.

        Raises:
            StoreUnavailableError: the catalogue cannot be read.
        """
        loop = asyncio.get_running_loop()
        if self._answer is None or (self._answer.done() and loop.time() - self._asked_at >= _POLL_S):
            self._asked_at = loop.time()
            self._answer = loop.run_in_executor(self._threads, self._read)
        return await asyncio.shield(self._answer)  # a client that leaves must not cancel the answer of the others

    def _read(self) -> int:
        return self._reader.catalogue().latest_change()


def product_watch(reader: ProductReader, threads: ThreadPoolExecutor, stopping: asyncio.Event) -> StreamingAnswer:
    """Make the answer to a `WatchProductsRequest`, which ends with the client or the server.

    The answer raises:
        QueryError: the bytes are malformed or a field is invalid.
        ServiceUnavailableError: the server stops; the client may resume from its cursor on another server.
        StoreUnavailableError: the catalogue cannot be read.
    """
    latest = LatestChange(reader, threads)

    async def answer(content: bytes) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        request = await loop.run_in_executor(
            threads, decode_request, content, WatchProductsRequest, "earthsignature.v3.WatchProductsRequest"
        )
        matches = product_test(await loop.run_in_executor(threads, filter_query, request.filter))
        heartbeat_s = _heartbeat_s(request.heartbeat_seconds)
        seen = await _first_change(request, latest)

        def news() -> tuple[list[dict[str, Any]], int, bool]:
            changes = reader.catalogue().changes(seen, _CHANGES_AT_ONCE)
            matching = [
                {"cursor": cursor(change.number), "product": product_fields(change.product)}
                for change in changes
                if matches(change.product)
            ]
            return matching, changes[-1].number if changes else seen, len(changes) == _CHANGES_AT_ONCE

        yield encode(_RESPONSE, cursor=cursor(seen))
        sent_at = loop.time()
        while True:
            if await latest.number() > seen:
                more = True
                while more:
                    matching, seen, more = await loop.run_in_executor(threads, news)
                    for fields in matching:
                        yield encode(_RESPONSE, **fields)
                        sent_at = loop.time()
            if loop.time() - sent_at >= heartbeat_s:
                yield encode(_RESPONSE, cursor=cursor(seen))
                sent_at = loop.time()
            await _pause(stopping)

    return answer


async def _first_change(request: WatchProductsRequest, latest: LatestChange) -> int:
    if request.from_beginning and request.cursor:
        raise QueryError("from_beginning", "excludes a cursor; give one of the two")
    # Read it even if it is not needed: this shows at once whether the catalogue answers.
    newest = await latest.number()
    if request.from_beginning:
        return 0
    if not request.cursor:
        return newest
    change = parse_cursor(request.cursor)
    if not 0 <= change <= newest:
        raise QueryError(
            "cursor",
            "is from another catalogue, or from this one before it was restored; list the products again, then watch "
            "without a cursor",
        )
    return change


def _heartbeat_s(seconds: int) -> int:
    if not 0 <= seconds <= MAX_HEARTBEAT_S:
        raise QueryError(
            "heartbeat_seconds", f"{seconds} is outside 1…{MAX_HEARTBEAT_S}; give 0 for {DEFAULT_HEARTBEAT_S}"
        )
    return seconds or DEFAULT_HEARTBEAT_S


async def _pause(stopping: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), _POLL_S)
    except TimeoutError:
        return
    raise ServiceUnavailableError("the server is stopping; resume from the cursor, here or on another server", 1.0)
