"""Watches: news at once, from other processes, from a cursor, and through a restart."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earthsignature_assets.errors import QueryError, ServiceUnavailableError
from earthsignature_assets.keys import ModelVersion
from earthsignature_grpc.client import AsyncEarthSignatureClient, EarthSignatureClient, News, RetryPolicy
from earthsignature_grpc.client.requests import watch_products
from tests.grpc_service.conftest import StartServer
from tests.grpc_service.v3.conftest import Serve, Shelf


def _products(news: list[News]) -> list[str]:
    return [entry.product.product_id for entry in news if entry.product is not None]


def test_a_watch_sees_products_of_other_processes(
    shelf: Shelf, start_server: StartServer, name_of: Callable[..., str]
) -> None:
    shelf.put(name_of(day=1))
    with start_server(shelf.store.root) as (address, _), EarthSignatureClient(address) as client:
        news = client.watch()
        first = next(news)
        assert first.product is None
        threading.Timer(0.5, shelf.put, [name_of(day=2)]).start()
        received = next(news)
        assert received.product is not None
        assert received.product.product_id == name_of(day=2)
        assert received.cursor != first.cursor


def test_a_watch_resumes_from_its_cursor(
    shelf: Shelf, client: EarthSignatureClient, name_of: Callable[..., str]
) -> None:
    with shelf.catalogue.transaction():
        names = [shelf.put(name_of(tile, day)).product_id for day in (1, 2, 3) for tile in ("32TQM", "33TUG")]
    news = list(itertools.islice(client.watch(from_beginning=True), 7))
    assert _products(news) == names
    for position, entry in enumerate(news):
        rest = list(itertools.islice(client.watch(cursor=entry.cursor), 7 - position))
        assert _products(rest) == names[position:]


def test_a_republished_product_is_news_only_if_its_content_differs(
    shelf: Shelf, client: EarthSignatureClient, name_of: Callable[..., str]
) -> None:
    shelf.put(name_of(day=1))
    news = client.watch(heartbeat_s=1)
    next(news)
    shelf.put(name_of(day=1))
    assert next(news).product is None
    shelf.put(name_of(day=1), np.full((64, 64), 512, np.uint16))
    received = next(entry.product for entry in news if entry.product)
    assert received.class_codes == (512,)


def test_heartbeats_move_the_cursor_past_filtered_products(
    shelf: Shelf, client: EarthSignatureClient, name_of: Callable[..., str]
) -> None:
    shelf.put(name_of(day=1))
    news = client.watch(heartbeat_s=1, categories=[512])
    first = next(news)
    shelf.put(name_of(day=2))
    cursors = {entry.cursor for entry in itertools.islice(news, 2)}
    assert first.cursor not in cursors or len(cursors) == 2
    shelf.put(name_of(day=3), np.full((64, 64), 512, np.uint16))
    assert next(entry.product for entry in news if entry.product).product_id == name_of(day=3)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"max_cloud_percent": 10.0}, [1, 2]),
        ({"start": dt.date(2026, 1, 2), "end": dt.date(2026, 1, 2)}, [2]),
        ({"categories": ["Water bodies"]}, [3]),
        ({"model": "corine-unet-v2"}, [1]),
        ({"area": "POLYGON ((0 0, 1 0, 1 1, 0 0))"}, []),
    ],
)
def test_filters_choose_the_news(
    shelf: Shelf,
    client: EarthSignatureClient,
    name_of: Callable[..., str],
    filters: dict[str, Any],
    expected: list[int],
) -> None:
    shelf.put(name_of(day=1))
    shelf.put(name_of(day=2))
    shelf.put(name_of(day=3), np.full((64, 64), 512, np.uint16), cloud_percent=50.0)
    shelf.put(name_of(day=1), model=ModelVersion("corine-unet", 2))
    news = client.watch(from_beginning=True, heartbeat_s=1, **filters)
    next(news)
    received = list(itertools.takewhile(lambda entry: entry.product is not None, news))
    assert _products(received) == [name_of(day=day) for day in expected]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (({}, "nonsense", False, 0), "cursor"),
        (({}, "", False, -1), "heartbeat_seconds"),
        (({}, "", False, 301), "heartbeat_seconds"),
        (({"area": "nonsense"}, "", False, 0), "wkt"),
    ],
)
def test_invalid_watches_are_refused_by_field(
    shelf: Shelf, client: EarthSignatureClient, name_of: Callable[..., str], arguments: tuple[Any, ...], field: str
) -> None:
    shelf.put(name_of())
    with pytest.raises(QueryError) as caught:
        next(client._responses(watch_products(*arguments), 20))
    assert caught.value.field == field


def test_a_cursor_of_another_catalogue_is_refused(
    shelf: Shelf, serve: Serve, client: EarthSignatureClient, name_of: Callable[..., str], tmp_path: Path
) -> None:
    for day in (1, 2, 3):
        shelf.put(name_of(day=day))
    cursor = next(client.watch()).cursor
    other = type(shelf.store)(tmp_path / "other")
    with (
        other.open_catalogue(),
        serve(other.root) as address,
        EarthSignatureClient(address) as stranger,
        pytest.raises(QueryError, match="another catalogue"),
    ):
        next(stranger.watch(cursor=cursor))


def test_a_watch_outlives_a_restart_of_the_service(
    shelf: Shelf, start_server: StartServer, name_of: Callable[..., str]
) -> None:
    shelf.put(name_of(day=1))
    patient = RetryPolicy(longest_delay_s=2.0)
    with start_server(shelf.store.root) as (address, first), EarthSignatureClient(address, retry=patient) as client:
        news = client.watch()
        next(news)
        first.terminate()
        # If the watch held the server up, it would exit only after its grace of 30 s.
        assert first.wait(25) == 0
        shelf.put(name_of(day=2))
        with start_server(shelf.store.root, "--listen", address):
            assert next(entry.product for entry in news if entry.product).product_id == name_of(day=2)


def test_a_watch_on_asyncio(shelf: Shelf, address: str, name_of: Callable[..., str]) -> None:
    import asyncio

    async def watch() -> list[News]:
        received = []
        async with AsyncEarthSignatureClient(address) as client:
            async for news in client.watch(from_beginning=True):
                received.append(news)
                if len(received) == 3:
                    return received
        raise AssertionError

    shelf.put(name_of(day=1))
    shelf.put(name_of(day=2))
    assert _products(asyncio.run(watch())) == [name_of(day=1), name_of(day=2)]


def test_a_watch_fails_if_the_service_stays_away(shelf: Shelf, serve: Serve, name_of: Callable[..., str]) -> None:
    shelf.put(name_of(day=1))
    retry = RetryPolicy(attempts=1, first_delay_s=0.01, longest_delay_s=1.5)
    with serve(shelf.store.root) as address:
        client = EarthSignatureClient(address, retry=retry)
        news = client.watch()
        next(news)
    with client, pytest.raises(ServiceUnavailableError):
        next(news)
