"""The servers that `v1_stream` is compared with: grpc.aio and one method.

`raw` sends ready responses from memory: the most that grpc.aio gives. `google` reads a product's two files, fills a
google-protobuf message and lets grpc.aio serialise it, as a service written after grpc's own guide would do.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc

from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store import ProductStore
from earthsignature_grpc.areas import format_footprint
from earthsignature_grpc.descriptors import V1, wire_class


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


def _serialise(message: object) -> bytes:
    content: bytes = message.SerializeToString()  # type: ignore[attr-defined]
    return content


async def _serve(store: Path, listen: str, kind: str) -> None:
    with ProductStore(store).open_catalogue(read_only=True) as catalogue:
        products = list(catalogue.all_products())
    ready = [_serialise(_message(store, product)) for product in products] if kind == "raw" else []

    async def list_segmentation(_request: bytes, _context: object) -> AsyncIterator[object]:
        for response in ready if kind == "raw" else (_message(store, product) for product in products):
            yield response

    serializer: Callable[[object], bytes] | None = None if kind == "raw" else _serialise
    method: grpc.RpcMethodHandler[bytes, object] = grpc.unary_stream_rpc_method_handler(
        list_segmentation, response_serializer=serializer
    )
    server = grpc.aio.server(options=[("grpc.max_send_message_length", 1 << 30)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(V1, {"ListSegmentation": method})])
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
