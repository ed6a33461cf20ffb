"""`SummariseArea`: the area of each class, counted in the pixels of an area."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

from earthsignature_assets.errors import BusyError, QueryError
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.catalogue.query import ProductQuery
from earthsignature_grpc.calls.call_handling import UnaryAnswer
from earthsignature_grpc.messages.earthsignature.v3 import Interval, ProductFilter, SummariseAreaRequest
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.filters import filter_query
from earthsignature_grpc.v3.products import timestamp
from earthsignature_grpc.wire.strict_decoding import decode_request, encode

MAX_PRODUCTS = 500
"""Products that one summary may cover."""

_AT_ONCE = 2
_WAITING = 8
_BUSY_RETRY_S = 5.0

_PERIODS: dict[Interval, Callable[[datetime], object]] = {
    Interval.UNSPECIFIED: lambda _: None,
    Interval.DAY: lambda moment: moment.date(),
    Interval.MONTH: lambda moment: (moment.year, moment.month),
    Interval.YEAR: lambda moment: moment.year,
}


def area_summaries(reader: ProductReader, threads: ThreadPoolExecutor) -> UnaryAnswer:
    """Make the answer to a `SummariseAreaRequest`.

    Counting pixels keeps a core busy for seconds, so two counts run at once and eight wait; a client that leaves ends
    its count.

    The answer raises:
        QueryError: the bytes are malformed, a field is invalid, or the answer takes too much work.
        BusyError: ten requests are running or waiting already.
        ProductError: a raster is missing or damaged.
        StoreUnavailableError: the catalogue or the store cannot be read.
    """
    turns = asyncio.Semaphore(_AT_ONCE)
    under_way = 0

    async def answer(content: bytes) -> bytes:
        nonlocal under_way
        if under_way >= _AT_ONCE + _WAITING:
            raise BusyError(f"{under_way} areas are being summarised; retry in {_BUSY_RETRY_S:g} s", _BUSY_RETRY_S)
        under_way += 1
        left = threading.Event()
        try:
            async with turns:
                return await asyncio.get_running_loop().run_in_executor(
                    threads, summarise, reader, content, left.is_set
                )
        finally:
            left.set()
            under_way -= 1

    return answer


def summarise(reader: ProductReader, content: bytes, stopped: Callable[[], bool]) -> bytes:
    """Answer a `SummariseAreaRequest`; once `stopped` returns True, with what is ready.

    Raises:
        See `area_summaries`.
    """
    # Imported here because it loads rasterio, which a server without such requests never needs.
    from earthsignature_assets.products.rasters.class_areas import ClassAreas, PixelBudget, class_areas, periods

    request = decode_request(content, SummariseAreaRequest, "earthsignature.v3.SummariseAreaRequest")
    query = _query(request)
    assert query.area is not None  # noqa: S101 - checked with the request
    products = list(reader.search(replace(query, limit=MAX_PRODUCTS + 1)))
    if len(products) > MAX_PRODUCTS:
        raise QueryError("wkt", f"matches more than {MAX_PRODUCTS} products; give a smaller area or a shorter period")
    budget = PixelBudget()

    def fields(areas: ClassAreas) -> dict[str, Any]:
        largest_first = sorted(areas.by_class.items(), key=lambda entry: (-entry[1], entry[0]))
        return {
            "first_sensed_at": timestamp(areas.products[-1].sensed_at),
            "last_sensed_at": timestamp(areas.products[0].sensed_at),
            "area_m2": areas.area_m2,
            "observed_m2": areas.observed_m2,
            "cloudy_m2": areas.cloudy_m2,
            "classes": [
                {
                    "category": code,
                    "name": class_of(code).name,
                    "area_m2": area_m2,
                    "percent": 100 * area_m2 / areas.observed_m2,
                }
                for code, area_m2 in largest_first
            ],
            "product_ids": [product.product_id for product in areas.products],
        }

    summaries = [
        fields(class_areas(query.area, group, reader.read, budget, stopped))
        for group in periods(products, _PERIODS[request.interval])
    ]
    return encode("earthsignature.v3.SummariseAreaResponse", summaries=summaries)


def _query(request: SummariseAreaRequest) -> ProductQuery:
    if not request.wkt:
        raise QueryError("wkt", "is empty; give an area, for example POLYGON ((14 46, 15 46, 15 47, 14 46))")
    if request.interval not in _PERIODS:
        raise QueryError(
            "interval", f"{int(request.interval)} is not an interval; give DAY, MONTH or YEAR, or leave it out"
        )
    return filter_query(
        ProductFilter(wkt=request.wkt, start_date=request.start_date, end_date=request.end_date, model=request.model)
    )
