"""`DownloadAsset`: one file in pieces, from any offset."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.errors import QueryError, SupersededError
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.calls.call_handling import StreamingAnswer
from earthsignature_grpc.messages.earthsignature.v3 import DownloadAssetRequest
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.assets import asset_name, described_assets, parse_asset
from earthsignature_grpc.v3.products import digest_of, named_product
from earthsignature_grpc.wire.strict_decoding import decode_request, encode

PIECE_BYTES = 1 << 20
"""Bytes of data in one message: a quarter of what gRPC clients accept by default."""

_RESPONSE = "earthsignature.v3.DownloadAssetResponse"


@dataclass(frozen=True)
class _Download:
    """One download: bytes `begin` to `end` (exclusive) of a file, and the fields of its `Asset` message."""

    product: Product
    asset: Asset
    described: dict[str, Any]
    begin: int
    end: int


def asset_download(reader: ProductReader, threads: ThreadPoolExecutor) -> StreamingAnswer:
    """Make the answer to a `DownloadAssetRequest`: a head, then the data in pieces.

    The next piece is read while one is sent, so that a call holds two of them, however large the file and however
    slow the client.

    The answer raises:
        QueryError: the bytes are malformed or a field is invalid.
        NoSuchProductError: there is no such product.
        SupersededError: the product was republished and no longer has the requested content.
        ProductError: a file is missing or damaged.
        StoreUnavailableError: the catalogue or the store cannot be read.
    """

    async def answer(content: bytes) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        download = await loop.run_in_executor(threads, _begin, reader, content)
        digest = digest_of(download.product)
        upcoming = loop.run_in_executor(threads, _piece, reader, download, download.begin)
        try:
            yield encode(_RESPONSE, asset=download.described, digest=digest, offset=download.begin)
            for offset in range(download.begin, download.end, PIECE_BYTES):
                piece = await upcoming
                upcoming = loop.run_in_executor(threads, _piece, reader, download, offset + PIECE_BYTES)
                yield piece
        finally:
            # A client that leaves cancels here. A read under way finishes, and its result is discarded.
            upcoming.add_done_callback(lambda future: future.cancelled() or future.exception())
            upcoming.cancel()

    return answer


def _begin(reader: ProductReader, content: bytes) -> _Download:
    request = decode_request(content, DownloadAssetRequest, "earthsignature.v3.DownloadAssetRequest")
    asset = parse_asset(request.asset)
    for field, number in (("offset", request.offset), ("length", request.length)):
        if number < 0:
            raise QueryError(field, f"{number} is negative; give 0 or more")
    if request.offset and not request.digest:
        raise QueryError("digest", "is needed with an offset; give the digest of the response that began the file")
    product = named_product(reader, request.product_id, request.model)
    if request.digest and request.digest != digest_of(product):
        raise SupersededError(
            f"{product.product_id} by {product.model} was republished: its digest is now {digest_of(product)}, not "
            f"{request.digest}; start over at offset 0 without a digest"
        )
    described = next(entry for entry in described_assets(reader, product) if entry["name"] == asset_name(asset))
    size = described["size_bytes"]
    if request.offset > size:
        raise QueryError("offset", f"{request.offset} is past the end of {asset_name(asset)}, which has {size} bytes")
    end = min(size, request.offset + request.length) if request.length else size
    return _Download(product, asset, described, request.offset, end)


def _piece(reader: ProductReader, download: _Download, offset: int) -> bytes:
    if offset >= download.end:
        return b""
    length = min(PIECE_BYTES, download.end - offset)
    data = reader.store.read_range(download.product, download.asset, offset, length)
    return encode(_RESPONSE, offset=offset, data=data)
