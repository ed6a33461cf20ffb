"""The client for threads."""

import math
import tempfile
import time
from collections.abc import Iterator
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


class EarthSignatureClient:
    """A client of one EarthSignature service over one channel; threads may share it.

    Methods that return an iterator stream: they yield each product as soon as it arrives. Filters are keyword
    arguments, those of `ProductFilters`, `RasterOptions`, `PolygonOptions` and `ListFilters`.

    Args:
        target: `host:port` of the service.
        tls: encryption; None for plaintext, for this machine and private networks only.
        token: a bearer token for calls that write.
        timeout_s: time limit of a call in seconds, over all attempts.
        retry: retries of transient failures.

    Every method raises:
        QueryError: the service or the client refuses a field; `field` and `remedy` say which and why.
        CredentialError: the call needs a credential, or a different one.
        ServiceUnavailableError: the service did not answer in time, or is busy; retry later.
        ServiceAnswerError: any other status, or an answer that cannot be read.
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
        self._channel = self._connection.open()
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; streams under way end."""
        self._channel.close()

    def segmentations_v1(self, **filters: Unpack[RasterOptions]) -> Iterator[RasterProduct]:
        """Fetch the matching products with their rasters, newest first."""
        return self._stream(requests.segmentations_v1(filters))

    def polygons_v2(self, **filters: Unpack[PolygonOptions]) -> Iterator[PolygonProduct]:
        """Fetch the polygons of the matching products, newest first."""
        return self._stream(requests.polygons_v2(filters))

    def product_ids(self, **filters: Unpack[ProductFilters]) -> Iterator[ProductName]:
        """List the names and footprints of all matching products, newest first."""
        return self._stream(requests.product_ids(filters))

    def product_features_v2(self, **filters: Unpack[ProductFilters]) -> Iterator[PolygonProduct]:
        """List the footprints of all matching products as Geobuf, one feature each, newest first."""
        return self._stream(requests.product_features_v2(filters))

    def products(
        self, *, oldest_first: bool = False, page_size: int = 0, **filters: Unpack[ListFilters]
    ) -> Iterator[PublishedProduct]:
        """List all matching products, newest first, page by page as they are consumed."""
        token = ""
        while True:
            page = self._ask(requests.list_products(filters, page_size, token, oldest_first))
            yield from page.products
            token = page.next_page_token
            if not token:
                return

    def product(self, product_id: str, model: str | None = None) -> PublishedProduct:
        """Describe one product and its files; without a model, the current one.

        Raises:
            NoSuchProductError: no product has this name, or this name and model.
        """
        return self._ask(requests.get_product(product_id, model))

    def models(self) -> list[ModelEntry]:
        """List the model versions that have products, most recently promoted first."""
        return self._ask(requests.list_models())

    def summarise(
        self,
        area: BaseGeometry | str,
        *,
        interval: Literal["day", "month", "year"] | None = None,
        **filters: Unpack[SummaryFilters],
    ) -> list[AreaSummary]:
        """Sum up the area of each class over the whole period, or over each day, month or year with products."""
        return self._ask(requests.summarise_area(area, interval, filters))

    def watch(
        self, *, cursor: str = "", from_beginning: bool = False, heartbeat_s: int = 30, **filters: Unpack[ListFilters]
    ) -> Iterator[News]:
        """Yield each product as it is published, with heartbeats in between, until the caller stops.

        After a broken connection the watch resumes from the last cursor, so that no news is lost or repeated. Store
        `News.cursor` once the news is processed, and pass it to the next `watch`.
        """
        attempts = Attempts(self._retry.patient(), math.inf)
        while True:
            call = requests.watch_products(filters, cursor, from_beginning, heartbeat_s)
            try:
                for news in self._responses(call, None):
                    cursor = news.cursor
                    attempts.begin_again()
                    yield news
                fault: EarthSignatureError = ServiceUnavailableError(
                    f"{self._connection.target}: the stream ended; retry later"
                )
            except ServiceUnavailableError as error:
                fault = error
            time.sleep(attempts.delay_s(fault))

    def download(
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
                    for response in self._responses(call, attempts.remaining_s):
                        before = download.offset
                        download.take(response)
                        if download.complete:
                            return path
                        if download.offset > before:
                            attempts.begin_again()
                    fault: EarthSignatureError = ServiceUnavailableError(
                        f"{path.name}: the stream ended early; retry later"
                    )
                except SupersededError as error:
                    download.restart()
                    fault = ServiceUnavailableError(str(error), 0.0)
                except ServiceUnavailableError as error:
                    fault = error
                time.sleep(attempts.delay_s(fault))

    def create_v1(
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
        self._ask(creation_requests.create_v1(land_cover, cloud_mask, footprint, facts))

    def create_v2(self, polygons: "gpd.GeoDataFrame", **facts: Unpack[ProductFacts]) -> None:
        """Publish a product from its polygons; the service rasterises them. Needs a writer's token.

        Args:
            polygons: frame in any CRS, with the CORINE level-3 `code` and optionally `mean_confidence` in percent.
            **facts: the facts about the product, see `ProductFacts`.

        Raises:
            AlreadyExistsError: the product exists already, possibly from this call before its connection broke.
        """
        self._ask(creation_requests.create_v2(polygons, facts))

    def read(self, product_id: str, asset: str, *, model: str | None = None) -> bytes:
        """Read a file of a product into memory, verified.

        Raises:
            NoSuchProductError: there is no such product.
        """
        with tempfile.TemporaryDirectory() as folder:
            return self.download(product_id, asset, Path(folder) / "asset", model=model).read_bytes()

    def _ask(self, call: Call[AnswerT]) -> AnswerT:
        # On the wire, a method with one response is a stream of one.
        answers = list(self._stream(call))
        if len(answers) != 1:
            raise ServiceAnswerError(f"{call.method} sent {len(answers)} responses; expected one")
        return answers[0]

    def _stream(self, call: Call[AnswerT]) -> Iterator[AnswerT]:
        attempts = Attempts(self._retry, self._timeout_s)
        while True:
            begun = False
            try:
                for answer in self._responses(call, attempts.remaining_s):
                    begun = True
                    yield answer
                return
            except EarthSignatureError as fault:
                if begun:
                    raise
                delay_s = attempts.delay_s(fault)
            time.sleep(delay_s)

    def _responses(self, call: Call[AnswerT], timeout_s: float | None) -> Iterator[AnswerT]:
        """Make one attempt at a call."""
        send: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(call.method)
        responses = send(call.request, timeout=timeout_s, metadata=self._connection.metadata)
        try:
            for content in responses:
                yield call.read(content)
        except grpc.RpcError as error:
            raise fault_of(error, self._connection.target) from error
        finally:
            responses.cancel()  # a reader that stops early frees the server
