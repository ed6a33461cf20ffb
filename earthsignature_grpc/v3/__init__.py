"""Version 3 of the API: pages of products, single products, downloads, watches, and class areas."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from earthsignature_grpc.calls.call_handling import MethodHandler, streaming_method, unary_method
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.download import asset_download
from earthsignature_grpc.v3.models import list_models
from earthsignature_grpc.v3.products import get_product, list_products
from earthsignature_grpc.v3.summary import area_summaries
from earthsignature_grpc.v3.watch import product_watch


def methods(
    reader: ProductReader, threads: ThreadPoolExecutor, limits: Limits, stopping: asyncio.Event, name: str
) -> dict[str, MethodHandler]:
    """Make the methods of version 3, by name.

    Args:
        reader: the product store; its methods block.
        threads: the pool for blocking work.
        limits: the limits to apply.
        stopping: set once the server begins to stop; endless streams then end.
        name: the service's full name.
    """

    def unary(method: str, answer: Callable[[ProductReader, bytes], bytes]) -> MethodHandler:
        async def respond(request: bytes) -> bytes:
            return await asyncio.get_running_loop().run_in_executor(threads, answer, reader, request)

        return unary_method(f"{name}/{method}", respond, limits)

    return {
        "ListProducts": unary("ListProducts", list_products),
        "GetProduct": unary("GetProduct", get_product),
        "ListModels": unary("ListModels", list_models),
        "DownloadAsset": streaming_method(f"{name}/DownloadAsset", asset_download(reader, threads), limits),
        "WatchProducts": streaming_method(f"{name}/WatchProducts", product_watch(reader, threads, stopping), limits),
        "SummariseArea": unary_method(f"{name}/SummariseArea", area_summaries(reader, threads), limits),
    }
