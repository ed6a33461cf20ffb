"""The client for asyncio."""

import asyncio
import math
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack

import grpc
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import (
    EarthSignatureError,
    ServiceAnswerError,
    ServiceUnavailableError,
    SupersededError,
)
from earthsignature_grpc.client import creation_requests, requests
from earthsignature_grpc.client.answers import PolygonProduct, ProductName, RasterProduct
from earthsignature_grpc.client.channel import Connection, Tls
from earthsignature_grpc.client.creation_requests import ProductFacts
from earthsignature_grpc.client.downloads import Download, OnProgress
from earthsignature_grpc.client.listing import AreaSummary, ModelEntry, News, PublishedProduct
from earthsignature_grpc.client.requests import (
    Call,
    ListFilters,
    PolygonOptions,
    ProductFilters,
    RasterOptions,
    SummaryFilters,
)
from earthsignature_grpc.client.retries import Attempts, RetryPolicy
from earthsignature_grpc.client.status_errors import fault_of

if TYPE_CHECKING:
    import geopandas as gpd

AnswerT = TypeVar("AnswerT")


class AsyncEarthSignatureClient:
    """A client of one EarthSignature service over one channel, for one event loop.

    It is `EarthSignatureClient` with `async for` and `await`: same arguments, filters, answers and errors. Methods
    that return arrays decode the raster, so call them in a thread if it is large (`asyncio.to_thread`).
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
        self._channel = self._connection.open_async()
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; streams under way end."""
        await self._channel.close()

    def segmentations_v1(self, **filters: Unpack[RasterOptions]) -> AsyncGenerator[RasterProduct, None]:
        """Fetch the matching products with their rasters, newest first."""
        return self._stream(requests.segmentations_v1(filters))

    def polygons_v2(self, **filters: Unpack[PolygonOptions]) -> AsyncGenerator[PolygonProduct, None]:
        """Fetch the polygons of the matching products, newest first."""
        return self._stream(requests.polygons_v2(filters))

    def product_ids(self, **filters: Unpack[ProductFilters]) -> AsyncGenerator[ProductName, None]:
        """List the names and footprints of all matching products, newest first."""
        return self._stream(requests.product_ids(filters))

    def product_features_v2(self, **filters: Unpack[ProductFilters]) -> AsyncGenerator[PolygonProduct, None]:
        """List the footprints of all matching products as Geobuf, one feature each, newest first."""
        return self._stream(requests.product_features_v2(filters))

    async def products(
        self, *, oldest_first: bool = False, page_size: int = 0, **filters: Unpack[ListFilters]
    ) -> AsyncGenerator[PublishedProduct, None]:
        """List all matching products, newest first, page by page as they are consumed."""
        token = ""
        while True:
            page = await self._ask(requests.list_products(filters, page_size, token, oldest_first))
            for product in page.products:
                yield product
            token = page.next_page_token
            if not token:
                return

    async def product(self, product_id: str, model: str | None = None) -> PublishedProduct:
        """Describe one product and its files; without a model, the current one.

        Raises:
            NoSuchProductError: no product has this name, or this name and model.
        """
        return await self._ask(requests.get_product(product_id, model))

    async def models(self) -> list[ModelEntry]:
        """List the model versions that have products, most recently promoted first."""
        return await self._ask(requests.list_models())

    async def summarise(
        self,
        area: BaseGeometry | str,
        *,
        interval: Literal["day", "month", "year"] | None = None,
        **filters: Unpack[SummaryFilters],
    ) -> list[AreaSummary]:
        """Sum up the area of each class over the whole period, or over each day, month or year with products."""
        return await self._ask(requests.summarise_area(area, interval, filters))

    async def watch(
        self, *, cursor: str = "", from_beginning: bool = False, heartbeat_s: int = 30, **filters: Unpack[ListFilters]
    ) -> AsyncGenerator[News, None]:
        """Yield each product as it is published, with heartbeats in between, until the caller stops.

        After a broken connection the watch resumes from the last cursor, so that no news is lost or repeated. Store
        `News.cursor` once the news is processed, and pass it to the next `watch`.
        """
        attempts = Attempts(self._retry.patient(), math.inf)
        while True:
            call = requests.watch_products(filters, cursor, from_beginning, heartbeat_s)
            try:
                async for news in self._responses(call, None):
                    cursor = news.cursor
                    attempts.begin_again()
                    yield news
                fault: EarthSignatureError = ServiceUnavailableError(
                    f"{self._connection.target}: the stream ended; retry later"
                )
            except ServiceUnavailableError as error:
                fault = error
            await asyncio.sleep(attempts.delay_s(fault))

    async def download(
        self,
        product_id: str,
        asset: str,
        path: Path,
        *,
        model: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Download a file of a product (`land_cover`, `polygons`, …) to `path`, complete and verified, or not at all.

        An interrupted download resumes; an existing file with the right content is kept.

        Raises:
            NoSuchProductError: there is no such product.
            DownloadError: the file cannot be written.
        """
        attempts = Attempts(self._retry, self._timeout_s)
        with Download(path, on_progress) as download:
            while True:
                call = requests.download_asset(product_id, model, asset, download.digest, download.offset)
                try:
                    async for response in self._responses(call, attempts.remaining_s):
                        before = download.offset
                        await asyncio.to_thread(download.take, response)
                        if download.complete:
                            return path
                        if download.offset > before:
                            attempts.begin_again()
                    fault: EarthSignatureError = ServiceUnavailableError(
                        f"{path.name}: the stream ended early; retry later"
                    )
                except SupersededError as error:
                    await asyncio.to_thread(download.restart)
                    fault = ServiceUnavailableError(str(error), 0.0)
                except ServiceUnavailableError as error:
                    fault = error
                await asyncio.sleep(attempts.delay_s(fault))

    async def create_v1(
        self,
        land_cover: bytes | Path,
        cloud_mask: bytes | Path,
        *,
        footprint: BaseGeometry | None = None,
        **facts: Unpack[ProductFacts],
    ) -> None:
        """Publish a product from its rasters; the service derives the polygons. Needs a writer's token.

        Args:
            land_cover: GeoTIFF of CORINE level-3 codes, uint16, 0 = no data, on the 10 m grid of the tile.
            cloud_mask: GeoTIFF of 0 (clear) and 1 (cloud), uint8, at 20 m over the same area.
            footprint: polygon of the valid area, EPSG:4326; by default the outline of the valid pixels.
            **facts: the facts about the product, see `ProductFacts`.

        Raises:
            AlreadyExistsError: the product exists already, possibly from this call before its connection broke.
        """
        await self._ask(creation_requests.create_v1(land_cover, cloud_mask, footprint, facts))

    async def create_v2(self, polygons: "gpd.GeoDataFrame", **facts: Unpack[ProductFacts]) -> None:
        """Publish a product from its polygons; the service rasterises them. Needs a writer's token.

        Args:
            polygons: frame in any CRS, with the CORINE level-3 `code` and optionally `mean_confidence` in percent.
            **facts: the facts about the product, see `ProductFacts`.

        Raises:
            AlreadyExistsError: the product exists already, possibly from this call before its connection broke.
        """
        await self._ask(creation_requests.create_v2(polygons, facts))

    async def read(self, product_id: str, asset: str, *, model: str | None = None) -> bytes:
        """Read a file of a product into memory, verified.

        Raises:
            NoSuchProductError: there is no such product.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = await self.download(product_id, asset, Path(folder) / "asset", model=model)
            return await asyncio.to_thread(path.read_bytes)

    async def _ask(self, call: Call[AnswerT]) -> AnswerT:
        # On the wire, a method with one response is a stream of one.
        answers = [answer async for answer in self._stream(call)]
        if len(answers) != 1:
            raise ServiceAnswerError(f"{call.method} sent {len(answers)} responses; expected one")
        return answers[0]

    async def _stream(self, call: Call[AnswerT]) -> AsyncGenerator[AnswerT, None]:
        attempts = Attempts(self._retry, self._timeout_s)
        while True:
            begun = False
            try:
                async for answer in self._responses(call, attempts.remaining_s):
                    begun = True
                    yield answer
                return
            except EarthSignatureError as fault:
                if begun:
                    raise
                delay_s = attempts.delay_s(fault)
            await asyncio.sleep(delay_s)

    async def _responses(self, call: Call[AnswerT], timeout_s: float | None) -> AsyncGenerator[AnswerT, None]:
        """Make one attempt at a call."""
        send: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(call.method)
        responses = send(call.request, timeout=timeout_s, metadata=self._connection.metadata)
        try:
            async for content in responses:
                yield call.read(content)
        except grpc.RpcError as error:
            raise fault_of(error, self._connection.target) from error
        finally:
            responses.cancel()  # a reader that stops early frees the server
