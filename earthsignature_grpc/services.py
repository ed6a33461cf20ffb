"""The services by name: which method answers with what. Generic handlers, so bytes go in and out as they are."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeAlias

import grpc

from earthsignature_assets.errors import CredentialError
from earthsignature_assets.products.catalogue import ProductQuery
from earthsignature_grpc import v1, v2
from earthsignature_grpc.calls import Answer, refusing_handler, streaming_handler
from earthsignature_grpc.descriptors import LEGACY, V1, V2
from earthsignature_grpc.errors import refusal_of, unimplemented_refusal
from earthsignature_grpc.reading import ProductReader, Renderer, rendered

MethodHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

# A product's files fill a message; names are small, and one hop to a thread serves many.
_FILES_AT_ONCE = 1
_NAMES_AT_ONCE = 256
_SEARCH_REMEDY = "SearchSegmentation is not served; ListSegmentation has filters for place, time, product and class"
_NO_CREDENTIAL = CredentialError(
    "CreateProduct needs a credential, and this server accepts none: products are published by the pipeline"
)


def service_handlers(reader: ProductReader, threads: ThreadPoolExecutor) -> list[grpc.GenericRpcHandler]:
    """The handlers of every service, ready for `grpc.aio.Server.add_generic_rpc_handlers`."""

    def answer(to_query: Callable[[bytes], ProductQuery], renderer: Renderer, at_once: int) -> Answer:
        async def responses(request: bytes) -> AsyncGenerator[bytes, None]:
            # A query takes microseconds, or milliseconds where the area is large: off the loop as well.
            query = await asyncio.get_running_loop().run_in_executor(threads, to_query, request)
            async with aclosing(rendered(reader, threads, query, renderer, at_once)) as messages:
                async for message in messages:
                    yield message

        return responses

    v1_answers = {
        "ListSegmentation": answer(v1.segmentation_query, v1.render_segmentation, _FILES_AT_ONCE),
        "ListProductIds": answer(v1.product_ids_query, v1.render_product_id, _NAMES_AT_ONCE),
    }
    v2_answers = {
        "ListSegmentation": answer(v2.segmentation_query, v2.render_polygons, _FILES_AT_ONCE),
        "ListProductIds": answer(v2.product_ids_query, v2.render_product_feature, _NAMES_AT_ONCE),
    }
    search: MethodHandler = grpc.unary_stream_rpc_method_handler(
        refusing_handler(f"{LEGACY}/SearchSegmentation", unimplemented_refusal(_SEARCH_REMEDY))
    )
    return [
        _service(V1, v1_answers),
        _service(V2, v2_answers),
        _service(LEGACY, v1_answers, SearchSegmentation=search),
    ]


def _service(name: str, answers: dict[str, Answer], **others: MethodHandler) -> grpc.GenericRpcHandler:
    # Without serializers, requests arrive as bytes and responses leave as they are.
    methods: dict[str, MethodHandler] = {
        method: grpc.unary_stream_rpc_method_handler(streaming_handler(f"{name}/{method}", answer))
        for method, answer in answers.items()
    }
    create = refusing_handler(f"{name}/CreateProduct", refusal_of(_NO_CREDENTIAL))
    methods["CreateProduct"] = grpc.unary_unary_rpc_method_handler(create)
    return grpc.method_handlers_generic_handler(name, {**methods, **others})
