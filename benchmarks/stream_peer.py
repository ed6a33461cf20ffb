"""Peer servers of `v1_stream` and `ids`: grpc.aio with two methods.

`raw` sends ready responses from memory: the upper limit of grpc.aio. `google` reads a product's two files, fills a
google-protobuf message and lets grpc.aio serialise it, as in grpc's guide; names come from the same search of the
catalogue.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path

import grpc

from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.reading.areas import format_footprint
from earthsignature_grpc.wire.descriptors import V1, wire_class


def _message(root: Path, product: Product) -> object:
    folder = root / product.folder
    day = {"seconds": int(product.sensed_at.timestamp())}
    return wire_class("snapearth.api.v1.SegmentationResponse")(
        wkt=format_footprint(product.footprint),
        segmentation=(folder / Asset.LAND_COVER).read_bytes(),
        cloud_mask=(folder / Asset.CLOUD_MASK).read_bytes(),
        product_id=product.product_id,
        product_type=product.product_type,
        publication_date=day,
        creation_date=day,
        cloud_cover=product.cloud_cover_percent,
    )


def _name(product: Product) -> object:
    midnight = product.sensed_at.replace(hour=0, minute=0, second=0, microsecond=0)
    day = {"seconds": int(midnight.timestamp())}
    return wire_class("snapearth.api.v1.ProductId")(
        wkt=format_footprint(product.footprint),
        product_id=product.product_id,
        publication_date=day,
        creation_date=day,
        model=str(product.model),
    )


def _serialise(message: object) -> bytes:
    content: bytes = message.SerializeToString()  # type: ignore[attr-defined]
    return content


async def _serve(store: Path, listen: str, kind: str) -> None:
    catalogue = ProductStore(store).open_catalogue(read_only=True)

    def messages() -> Iterator[object]:
        return (_message(store, product) for product in catalogue.search(ProductQuery()))

    def names() -> Iterator[object]:
        return map(_name, catalogue.search(ProductQuery()))

    @cache
    def ready(make: Callable[[], Iterator[object]]) -> list[bytes]:
        return [_serialise(message) for message in make()]

    async def list_segmentation(_request: bytes, _context: object) -> AsyncIterator[object]:
        for response in ready(messages) if kind == "raw" else messages():
            yield response

    async def list_product_ids(_request: bytes, _context: object) -> AsyncIterator[object]:
        for response in ready(names) if kind == "raw" else names():
            yield response

    serializer: Callable[[object], bytes] | None = None if kind == "raw" else _serialise
    methods: dict[str, grpc.RpcMethodHandler[bytes, object]] = {
        "ListSegmentation": grpc.unary_stream_rpc_method_handler(list_segmentation, response_serializer=serializer),
        "ListProductIds": grpc.unary_stream_rpc_method_handler(list_product_ids, response_serializer=serializer),
    }
    server = grpc.aio.server(options=[("grpc.max_send_message_length", 1 << 30)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(V1, methods)])
    port = server.add_insecure_port(listen)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--kind", choices=["raw", "google"], required=True)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.store, arguments.listen, arguments.kind))
