"""What the handlers read: published products and their files, off the event loop, one step ahead of the client."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store import ProductStore

READING_THREADS = 8
"""Reads that run at once for all clients together; more wait their turn."""

_FIRST_PORTION = 8


class ProductReader:
    """Reads one product store for every call of a server; its methods block, so they run in threads.

    The catalogue is opened at the first query, not before: the service may start before anything is published, and
    answers that the store is unavailable until something is.
    """

    def __init__(self, store: ProductStore | Path) -> None:
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


async def rendered(
    reader: ProductReader, threads: ThreadPoolExecutor, query: ProductQuery, renderer: Renderer, at_once: int
) -> AsyncGenerator[bytes, None]:
    """One message for each product that matches, in order.

    Portions of `at_once` messages are made in a thread, the first one smaller so that the client soon has something;
    the next portion is made while one is being sent, and no
    further one before that, so a slow client holds two portions in memory and no thread.
    """
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(threads, reader.search, query)

    def portion(size: int) -> list[bytes]:
        return [_render(reader, product, renderer) for product in islice(found, size)]

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


def _render(reader: ProductReader, product: Product, renderer: Renderer) -> bytes:
    try:
        return renderer(reader, product)
    except ProductError:
        # Published anew since the search, and the older files swept: the client is owed the newer ones.
        newest = reader.newest(product)
        if newest is None or newest.folder == product.folder:
            raise
        return renderer(reader, newest)
