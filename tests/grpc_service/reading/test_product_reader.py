"""Rendering ahead of the client, and products that are republished meanwhile."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import shapely

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.reading.product_reader import ProductReader, one_by_one, rendered
from earthsignature_grpc.v1 import render_product_ids, render_segmentation
from tests.grpc_service.conftest import Facts


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def reader(facts: Facts) -> Iterator[ProductReader]:
    reader = ProductReader(facts.root)
    yield reader
    reader.close()


def _name(_: ProductReader, product: Product) -> bytes:
    return product.product_id.encode()


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 5])
async def test_portions_join_without_gap_or_repeat(
    reader: ProductReader, threads: ThreadPoolExecutor, facts: Facts, at_once: int
) -> None:
    messages = [message async for message in rendered(reader, threads, ProductQuery(), one_by_one(_name), at_once)]
    assert messages == [name.encode() for name in facts.newest_first]


async def test_one_message_is_rendered_ahead_and_no_more(reader: ProductReader, threads: ThreadPoolExecutor) -> None:
    made: list[str] = []

    def render(_: ProductReader, product: Product) -> bytes:
        made.append(product.product_id)
        return b"x"

    async with aclosing(rendered(reader, threads, ProductQuery(), one_by_one(render), 1)) as messages:
        for count in (1, 2):
            await anext(messages)
            deadline = time.monotonic() + 5
            while len(made) < count + 1 and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert len(made) == count + 1


async def test_a_fault_follows_the_messages_that_were_ready(
    reader: ProductReader, threads: ThreadPoolExecutor, facts: Facts
) -> None:
    def render(_: ProductReader, product: Product) -> bytes:
        if product.product_id == facts.middle:
            raise StoreUnavailableError("gone")
        return b"x"

    messages = rendered(reader, threads, ProductQuery(), one_by_one(render), 1)
    assert [await anext(messages), await anext(messages)] == [b"x", b"x"]
    with pytest.raises(StoreUnavailableError):
        await anext(messages)


async def test_an_abandoned_stream_leaves_no_complaint(
    reader: ProductReader, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def render(_: ProductReader, product: Product) -> bytes:
        time.sleep(0.05)
        raise StoreUnavailableError("gone")

    task = asyncio.ensure_future(anext(rendered(reader, threads, ProductQuery(), one_by_one(render), 1)))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert caplog.records == []


async def test_a_product_republished_during_the_stream_is_sent_in_its_new_version(
    facts: Facts, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    shutil.copytree(facts.root, root)
    old = facts.products[facts.oldest]
    new = replace(old, folder=old.folder[:-16] + "00000000deadbeef")
    reader = ProductReader(root)
    async with aclosing(rendered(reader, threads, ProductQuery(), one_by_one(render_segmentation), 1)) as messages:
        await anext(messages)
        (root / old.folder).rename(root / new.folder)
        (root / new.folder / Asset.LAND_COVER.value).write_bytes(b"made again")
        with ProductStore(root).open_catalogue() as catalogue:
            catalogue.record(new)
        rest = [message async for message in messages]
    assert b"made again" in rest[-1]
    reader.close()


async def test_a_missing_file_is_a_fault(facts: Facts, threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(facts.root, root)
    (root / facts.products[facts.newest].folder / Asset.CLOUD_MASK.value).unlink()
    reader = ProductReader(root)
    with pytest.raises(ProductError, match=r"cloud_mask\.tif"):
        [message async for message in rendered(reader, threads, ProductQuery(), one_by_one(render_segmentation), 1)]
    reader.close()


def test_messages_are_the_bytes_that_google_protobuf_writes(
    reader: ProductReader, facts: Facts, stubs: SimpleNamespace
) -> None:
    product = next(reader.search(ProductQuery(limit=1)))
    content = render_segmentation(reader, product)
    theirs = stubs.v1.SegmentationResponse.FromString(content)
    assert theirs.SerializeToString() == content  # fields in order, the unknown one last
    assert len(content) > len(facts.content(facts.newest, Asset.LAND_COVER))


def test_names_are_the_bytes_that_google_protobuf_writes(
    reader: ProductReader, facts: Facts, stubs: SimpleNamespace
) -> None:
    products = list(reader.search(ProductQuery()))
    for product, content in zip(products, render_product_ids(reader, products), strict=True):
        day = {"seconds": int(product.sensed_at.replace(hour=0, minute=0, second=0).timestamp())}
        footprint = product.footprint
        parts = shapely.get_parts(footprint).tolist()
        theirs = stubs.v1.ProductId(
            wkt=shapely.to_wkt(shapely.MultiPolygon(parts), rounding_precision=16, trim=False),
            product_id=product.product_id,
            publication_date=day,
            creation_date=day,
        ).SerializeToString()
        # Clients of 2022 know four fields; the model follows them as field 20.
        model = str(product.model).encode()
        assert content == theirs + b"\xa2\x01" + bytes([len(model)]) + model
    assert render_product_ids(reader, []) == []
