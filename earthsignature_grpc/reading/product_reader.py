"""Published products and their files, read off the event loop and one step ahead of the client."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.catalogue.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.reading.message_cache import MessageCache

READING_THREADS = 8
"""Concurrent reads of all clients together; further ones queue."""

HEAVY_THREADS = 2
"""Concurrent crops of rasters and simplifications of polygons, of all clients together."""

_FIRST_PORTION = 8
_PRODUCTS_AT_ONCE = 64


class ProductReader:
    """The product store as a server reads it; methods block, so they run in threads.

    The catalogue opens with the first query, so that the service can start before anything is published; until then
    it answers that the store is unavailable.
    """

    def __init__(self, store: ProductStore | Path, public_url: str = "") -> None:
        """Name the store; `public_url` is the HTTP address of its files, or empty."""
        self.public_url = public_url.rstrip("/")
        self.store = store if isinstance(store, ProductStore) else ProductStore(store)
        self._catalogue: Catalogue | None = None
        self._guard = threading.Lock()

    def search(self, query: ProductQuery) -> Iterator[Product]:
        """Find the products that match, newest acquisition first.

        Raises:
            StoreUnavailableError: the catalogue is absent or cannot be read.
        """
        return self.catalogue().search(query)

    def read(self, product: Product, asset: Asset) -> bytes:
        """Read a file of a product.

        Raises:
            ProductError: the file is missing.
            StoreUnavailableError: the file cannot be read.
        """
        return self.store.read(product, asset)

    def url(self, product: Product, asset: Asset) -> str:
        """Return the public URL of a product's file; empty if there is none."""
        return f"{self.public_url}/{product.folder}/{asset.value}" if self.public_url else ""

    def newest(self, product: Product) -> Product | None:
        """Look up the same product in the catalogue again; None if it has been removed."""
        return self.catalogue().find(product.product_id, product.model)

    def close(self) -> None:
        """Close the catalogue; no call may be under way."""
        with self._guard:
            if self._catalogue is not None:
                self._catalogue.close()
                self._catalogue = None

    def catalogue(self) -> Catalogue:
        """Return the catalogue, opening it on first use.

        Raises:
            StoreUnavailableError: the catalogue is absent or cannot be read.
        """
        with self._guard:
            if self._catalogue is None:
                self._catalogue = self.store.open_catalogue(read_only=True)
            return self._catalogue


Renderer: TypeAlias = Callable[[ProductReader, Product], bytes]
PortionRenderer: TypeAlias = Callable[[ProductReader, Sequence[Product]], list[bytes]]
"""Renderer of several products: one message each, in order."""


def one_by_one(renderer: Renderer) -> PortionRenderer:
    """Make a portion renderer that renders each product separately."""
    return lambda reader, products: [_render(reader, product, renderer) for product in products]


async def rendered(
    reader: ProductReader, threads: ThreadPoolExecutor, query: ProductQuery, renderer: PortionRenderer, at_once: int
) -> AsyncGenerator[bytes, None]:
    """Yield one message for each matching product, in order.

    A thread renders portions of `at_once` messages; the first portion is smaller, so that the client gets an answer
    soon. The next portion is rendered while one is being sent, but no further ahead, so a slow client holds two
    portions in memory and no thread.
    """
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(threads, reader.search, query)

    def portion(size: int) -> list[bytes]:
        products = list(islice(found, size))
        return renderer(reader, products) if products else []

    upcoming = loop.run_in_executor(threads, portion, min(at_once, _FIRST_PORTION))
    try:
        while messages := await upcoming:
            upcoming = loop.run_in_executor(threads, portion, at_once)
            for message in messages:
                yield message
    finally:
        # A client that leaves cancels here. A read under way finishes, and its result is discarded.
        upcoming.add_done_callback(lambda future: future.cancelled() or future.exception())
        upcoming.cancel()


@dataclass(frozen=True)
class Rendering:
    """The way from a product to a message.

    Attributes:
        render: renders the message; it blocks.
        what: cache key of the rendering: the same product and `what` give the same message.
        heavy: whether rendering takes long and much memory; few of these run at once.
    """

    render: Renderer
    what: Hashable
    heavy: bool = False


@dataclass(frozen=True)
class RenderPools:
    """Threads for quick renderings, a few threads for heavy ones, and the cache of recent messages."""

    threads: ThreadPoolExecutor
    heavy_threads: ThreadPoolExecutor
    cache: MessageCache


async def assembled(
    reader: ProductReader,
    render_pools: RenderPools,
    request: bytes,
    to_request: Callable[[bytes], tuple[ProductQuery, Rendering]],
) -> AsyncGenerator[bytes, None]:
    """Yield one message for each product of a request, in order; for messages that hold files.

    Cached messages are sent as they are. One message is rendered ahead of the one being sent, so a slow client holds
    two messages and no thread.
    """
    loop = asyncio.get_running_loop()

    def begin() -> tuple[Rendering, Iterator[Product], list[Product]]:
        # Decode the request, search and fetch the first rows in one hop to a thread: on a busy machine each hop waits
        # its turn.
        query, rendering = to_request(request)
        found = reader.search(query)
        return rendering, found, list(islice(found, _PRODUCTS_AT_ONCE))

    rendering, found, products = await loop.run_in_executor(render_pools.threads, begin)
    threads = render_pools.heavy_threads if rendering.heavy else render_pools.threads

    def make(product: Product) -> bytes:
        message = _render(reader, product, rendering.render)
        render_pools.cache.keep((rendering.what, product.folder), message)
        return message

    def begun(product: Product) -> "bytes | asyncio.Future[bytes]":
        ready = render_pools.cache.get((rendering.what, product.folder))
        return loop.run_in_executor(threads, make, product) if ready is None else ready

    upcoming: deque[bytes | asyncio.Future[bytes]] = deque()
    try:
        while products:
            for product in products:
                upcoming.append(begun(product))
                if len(upcoming) > 1:
                    message = upcoming.popleft()
                    yield message if isinstance(message, bytes) else await message
            more = len(products) == _PRODUCTS_AT_ONCE
            products = (
                await loop.run_in_executor(render_pools.threads, list, islice(found, _PRODUCTS_AT_ONCE)) if more else []
            )
        for message in upcoming:
            yield message if isinstance(message, bytes) else await message
    finally:
        # A client that leaves cancels here. A read under way finishes, and its result is discarded.
        for message in upcoming:
            if not isinstance(message, bytes):
                message.add_done_callback(lambda done: done.cancelled() or done.exception())
                message.cancel()


def _render(reader: ProductReader, product: Product, renderer: Renderer) -> bytes:
    try:
        return renderer(reader, product)
    except ProductError:
        # The product was republished since the search and its older files were swept: send the newer ones.
        newest = reader.newest(product)
        if newest is None or newest.folder == product.folder:
            raise
        return renderer(reader, newest)
