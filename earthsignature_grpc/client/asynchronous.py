"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Self, TypeVar, Unpack

import grpc

from earthsignature_grpc.client import requests
from earthsignature_grpc.client.answers import PolygonProduct, ProductName, RasterProduct
from earthsignature_grpc.client.channel import Connection, Tls
from earthsignature_grpc.client.faults import fault_of
from earthsignature_grpc.client.requests import Call, ProductFilters, SegmentationFilters
from earthsignature_grpc.client.retries import Attempts, RetryPolicy

AnswerT = TypeVar("AnswerT")


class AsyncEarthSignatureClient:
    """Calls one EarthSignature service over one channel, from one event loop.

    It is `EarthSignatureClient` with `async for` and `await`: same arguments, filters, answers and errors. Rasters
    are decoded when you ask for arrays; of large ones do so in a thread (`asyncio.to_thread`).
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout_s: float = 600.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._connection = Connection(target, tls, token)
        self._channel = self._connection.open_async()
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; streams under way end."""
        await self._channel.close()

    def segmentations_v1(self, **filters: Unpack[SegmentationFilters]) -> AsyncGenerator[RasterProduct, None]:
        """The products that match with their rasters, newest first."""
        return self._stream(requests.segmentations_v1(filters))

    def polygons_v2(self, **filters: Unpack[SegmentationFilters]) -> AsyncGenerator[PolygonProduct, None]:
        """The polygons of the products that match, newest first."""
        return self._stream(requests.polygons_v2(filters))

    def product_ids(self, **filters: Unpack[ProductFilters]) -> AsyncGenerator[ProductName, None]:
        """The names and footprints of all products that match, newest first."""
        return self._stream(requests.product_ids(filters))

    def product_features_v2(self, **filters: Unpack[ProductFilters]) -> AsyncGenerator[PolygonProduct, None]:
        """The footprints of all products that match as Geobuf, one feature each, newest first."""
        return self._stream(requests.product_features_v2(filters))

    async def _stream(self, call: Call[AnswerT]) -> AsyncGenerator[AnswerT, None]:
        send: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(call.method)
        attempts = Attempts(self._retry, self._timeout_s)
        while True:
            begun = False
            responses = send(call.request, timeout=attempts.remaining_s, metadata=self._connection.metadata)
            try:
                async for content in responses:
                    begun = True
                    yield call.read(content)
                return
            except grpc.RpcError as error:
                fault = fault_of(error, self._connection.target)
                if begun:
                    raise fault from error
                delay_s = attempts.delay_s(fault)
            finally:
                responses.cancel()  # a reader that stops early frees the server
            await asyncio.sleep(delay_s)
