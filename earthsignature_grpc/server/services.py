"""The table of services and their methods. Handlers are generic, so that bytes go in and out unchanged.

A service is one function in the table at the end, which makes its methods from the shared backend.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_grpc import v1, v2, v3
from earthsignature_grpc.access.authorisation import Authorisation
from earthsignature_grpc.calls.call_handling import MethodHandler, refusing_method, streaming_method, writing_method
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.calls.statuses import unimplemented_refusal
from earthsignature_grpc.creation.creator import ProductCreator
from earthsignature_grpc.reading.product_reader import (
    PortionRenderer,
    ProductReader,
    Rendering,
    RenderPools,
    assembled,
    one_by_one,
    rendered,
)
from earthsignature_grpc.wire.descriptors import LEGACY, V1, V2, V3

# Names are small, so one hop to a thread renders many.
_NAMES_AT_ONCE = 256
_SEARCH_REMEDY = "SearchSegmentation is not served; use the filters of ListSegmentation instead"


@dataclass(frozen=True)
class Backend:
    """The parts that all services share.

    Attributes:
        reader: the product store; its methods block.
        render_pools: threads and cache for rendering messages off the event loop.
        limits: the limits to apply.
        authorisation: the rule for who may write.
        creator: publishes the products that clients send.
        stopping: set once the server begins to stop; endless streams then end.
    """

    reader: ProductReader
    render_pools: RenderPools
    limits: Limits
    authorisation: Authorisation
    creator: ProductCreator
    stopping: asyncio.Event


Methods: TypeAlias = dict[str, MethodHandler]
Service: TypeAlias = Callable[[Backend, str], Methods]
"""Maker of a service: backend and full name of the service to its methods by name."""


def service_handlers(backend: Backend) -> list[grpc.GenericRpcHandler]:
    """Make the handlers of every service, for `grpc.aio.Server.add_generic_rpc_handlers`."""
    return [
        grpc.method_handlers_generic_handler(name, service(backend, name)) for name, service in SERVICE_TABLE.items()
    ]


def _sending(
    backend: Backend, method: str, to_request: Callable[[bytes], tuple[ProductQuery, Rendering]]
) -> MethodHandler:
    """Make a method that sends whole products."""

    def responses(request: bytes) -> AsyncGenerator[bytes, None]:
        return assembled(backend.reader, backend.render_pools, request, to_request)

    return streaming_method(method, responses, backend.limits)


def _naming(
    backend: Backend, method: str, to_query: Callable[[bytes], ProductQuery], renderer: PortionRenderer
) -> MethodHandler:
    """Make a method that names products."""

    async def responses(request: bytes) -> AsyncGenerator[bytes, None]:
        # Building a query takes microseconds, or milliseconds for a large area: it also runs off the loop.
        threads = backend.render_pools.threads
        query = await asyncio.get_running_loop().run_in_executor(threads, to_query, request)
        async with aclosing(rendered(backend.reader, threads, query, renderer, _NAMES_AT_ONCE)) as messages:
            async for message in messages:
                yield message

    return streaming_method(method, responses, backend.limits)


def _creating(backend: Backend, method: str, version: str) -> MethodHandler:
    async def create(request: bytes, writer: str) -> bytes:
        await backend.creator.create(version, request, writer)
        return b""  # CreateProductResponse has no fields

    return writing_method(method, backend.authorisation.writer, create, backend.limits)


def _version_1(backend: Backend, name: str) -> Methods:
    return {
        "ListSegmentation": _sending(backend, f"{name}/ListSegmentation", v1.segmentation_request),
        "ListProductIds": _naming(backend, f"{name}/ListProductIds", v1.product_ids_query, v1.render_product_ids),
        "CreateProduct": _creating(backend, f"{name}/CreateProduct", "v1"),
    }


def _version_2(backend: Backend, name: str) -> Methods:
    return {
        "ListSegmentation": _sending(backend, f"{name}/ListSegmentation", v2.segmentation_request),
        "ListProductIds": _naming(
            backend, f"{name}/ListProductIds", v2.product_ids_query, one_by_one(v2.render_product_feature)
        ),
        "CreateProduct": _creating(backend, f"{name}/CreateProduct", "v2"),
    }


def _legacy(backend: Backend, name: str) -> Methods:
    search = refusing_method(f"{name}/SearchSegmentation", unimplemented_refusal(_SEARCH_REMEDY), streams=True)
    return {**_version_1(backend, name), "SearchSegmentation": search}


def _version_3(backend: Backend, name: str) -> Methods:
    return v3.methods(backend.reader, backend.render_pools.threads, backend.limits, backend.stopping, name)


SERVICE_TABLE: dict[str, Service] = {V1: _version_1, V2: _version_2, LEGACY: _legacy, V3: _version_3}
"""All services; `descriptors.SERVICES` lists the same names for reflection and health."""
