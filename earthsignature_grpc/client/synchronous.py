"""The client for threads."""

import time
from collections.abc import Iterator
from typing import Self, TypeVar, Unpack

import grpc

from earthsignature_grpc.client import requests
from earthsignature_grpc.client.answers import PolygonProduct, ProductName, RasterProduct
from earthsignature_grpc.client.channel import Connection, Tls
from earthsignature_grpc.client.faults import fault_of
from earthsignature_grpc.client.requests import Call, ProductFilters, SegmentationFilters
from earthsignature_grpc.client.retries import Attempts, RetryPolicy

AnswerT = TypeVar("AnswerT")


class EarthSignatureClient:
    """Calls one EarthSignature service over one channel; threads may share it.

    Each method that returns an iterator streams: it yields a product as soon as it has arrived. Filters are those of
    `ProductFilters` and `SegmentationFilters`, as keyword arguments.

    Args:
        target: `host:port` of the service.
        tls: encryption; None speaks in the clear, which is for this machine and networks of your own.
        token: a bearer token for calls that write.
        timeout_s: seconds that one call may take, with all its attempts.
        retry: how often a call is tried again that the service could not answer for now.

    Every method raises:
        QueryError: the service, or the client before it, refuses a field; `field` and `remedy` say which and why.
        CredentialError: the call needs a credential, or another one.
        ServiceUnavailableError: no answer, not in time, or the service is busy: try again later.
        ServiceAnswerError: any other status, or an answer that cannot be read.
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
        self._channel = self._connection.open()
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; streams under way end."""
        self._channel.close()

    def segmentations_v1(self, **filters: Unpack[SegmentationFilters]) -> Iterator[RasterProduct]:
        """The products that match with their rasters, newest first."""
        return self._stream(requests.segmentations_v1(filters))

    def polygons_v2(self, **filters: Unpack[SegmentationFilters]) -> Iterator[PolygonProduct]:
        """The polygons of the products that match, newest first."""
        return self._stream(requests.polygons_v2(filters))

    def product_ids(self, **filters: Unpack[ProductFilters]) -> Iterator[ProductName]:
        """The names and footprints of all products that match, newest first."""
        return self._stream(requests.product_ids(filters))

    def product_features_v2(self, **filters: Unpack[ProductFilters]) -> Iterator[PolygonProduct]:
        """The footprints of all products that match as Geobuf, one feature each, newest first."""
        return self._stream(requests.product_features_v2(filters))

    def _stream(self, call: Call[AnswerT]) -> Iterator[AnswerT]:
        send: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(call.method)
        attempts = Attempts(self._retry, self._timeout_s)
        while True:
            begun = False
            responses = send(call.request, timeout=attempts.remaining_s, metadata=self._connection.metadata)
            try:
                for content in responses:
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
            time.sleep(delay_s)
