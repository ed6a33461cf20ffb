"""What the handlers read: published products and their files, off the event loop, one step ahead of the client."""

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
"""Reads that run at once for all clients together; more wait their turn."""

HEAVY_THREADS = 2
"""Rasters that are cropped and polygons that are simplified at once, for all clients together."""

_FIRST_PORTION = 8
_PRODUCTS_AT_ONCE = 64


class ProductReader:
    """Reads one product store for every call of a server; its methods block, so they run in threads.

    The catalogue is opened at the first query, not before: the service may start before anything is published, and
    answers that the store is unavailable until something is.
    """

    def __init__(self, store: ProductStore | Path, public_url: str = "") -> None:
        """Name the store; `public_url` is where others read the same files over HTTP, or empty."""
        self.public_url = public_url.rstrip("/")
        self.store = store if isinstance(store, ProductStore) else ProductStore(store)
        self._catalogue: Catalogue | None = None
        self._guard = threading.Lock()

    def search(self, query: ProductQuery) -> Iterator[Product]:
        """Products that match, newest acquisition first.

        Raises:
            StoreUnavailableError: the catalogue is not there or cannot be read.
        """
        return self.catalogue().search(query)

    def read(self, product: Product, asset: Asset) -> bytes:
        """The bytes of a product's file.

        Raises:
            ProductError: the file is gone.
            StoreUnavailableError: the disk does not give it.
        """
        return self.store.read(product, asset)

    def url(self, product: Product, asset: Asset) -> str:
        """Where others read a product's file; empty if nowhere."""
        return f"{self.public_url}/{product.folder}/{asset.value}" if self.public_url else ""

    def newest(self, product: Product) -> Product | None:
        """The same product as the catalogue names it now; None if it is there no longer."""
        return self.catalogue().find(product.product_id, product.model)

    def close(self) -> None:
        """Close the catalogue; no call may be under way."""
        with self._guard:
            if self._catalogue is not None:
                self._catalogue.close()
                self._catalogue = None

    def catalogue(self) -> Catalogue:
        """The catalogue, opened at the first question.

        Raises:
            StoreUnavailableError: it is not there or cannot be read.
        """
        with self._guard:
            if self._catalogue is None:
                self._catalogue = self.store.open_catalogue(read_only=True)
            return self._catalogue


Renderer: TypeAlias = Callable[[ProductReader, Product], bytes]
PortionRenderer: TypeAlias = Callable[[ProductReader, Sequence[Product]], list[bytes]]
"""From several products to a message of each, in order."""


def one_by_one(renderer: Renderer) -> PortionRenderer:
    """Renders each product of a portion by itself."""
    return lambda reader, products: [_render(reader, product, renderer) for product in products]


async def rendered(
    reader: ProductReader, threads: ThreadPoolExecutor, query: ProductQuery, renderer: PortionRenderer, at_once: int
) -> AsyncGenerator[bytes, None]:
    """One message for each product that matches, in order.

    Portions of `at_once` messages are made in a thread, the first one smaller so that the client soon has something;
    the next portion is made while one is being sent, and no
    further one before that, so a slow client holds two portions in memory and no thread.
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
        # A client that leaves cancels here; a read under way runs out, and its outcome is nobody's.
        upcoming.add_done_callback(lambda future: future.cancelled() or future.exception())
        upcoming.cancel()


@dataclass(frozen=True)
class Rendering:
    """How a product becomes a message.

    Attributes:
        render: makes it; it blocks.
        what: names what is made, beside the product: the same product and `what` give the same message.
        heavy: whether it takes long and much memory; few of these run at once.
    """

    render: Renderer
    what: Hashable
    heavy: bool = False


@dataclass(frozen=True)
class RenderPools:
    """Where messages are made: threads for what is quick, a few for what is not, and what was made lately."""

    threads: ThreadPoolExecutor
    heavy_threads: ThreadPoolExecutor
    cache: MessageCache


async def assembled(
    reader: ProductReader,
    render_pools: RenderPools,
    request: bytes,
    to_request: Callable[[bytes], tuple[ProductQuery, Rendering]],
) -> AsyncGenerator[bytes, None]:
    """One message for each product that a request asks for, in order: for messages that hold files.

    What was made lately goes out as it is. One message is made ahead of the one that is being sent, so a slow client
    holds two messages and no thread.
    """
    loop = asyncio.get_running_loop()

    def begin() -> tuple[Rendering, Iterator[Product], list[Product]]:
        # Reading the request, the search and the first rows in one hop to a thread: on a busy machine each waits for
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
        # A client that leaves cancels here; a read under way runs out, and its outcome is nobody's.
        for message in upcoming:
            if not isinstance(message, bytes):
                message.add_done_callback(lambda done: done.cancelled() or done.exception())
                message.cancel()


def _render(reader: ProductReader, product: Product, renderer: Renderer) -> bytes:
    try:
        return renderer(reader, product)
    except ProductError:
        # Published anew since the search, and the older files swept: the client is owed the newer ones.
        newest = reader.newest(product)
        if newest is None or newest.folder == product.folder:
            raise
        return renderer(reader, newest)
