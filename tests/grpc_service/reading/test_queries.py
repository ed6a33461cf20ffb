"""Queries built from the fields of requests."""

import datetime as dt
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from earthsignature_assets.errors import QueryError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.reading.queries import parse_class_codes, parse_class_names, parse_result_limit, product_query
from earthsignature_grpc.server.server import running_server
from tests.grpc_service.conftest import Facts
from tests.raw_calls import unary_stream

UNSET: dict[str, Any] = {"wkt": None, "start_date": None, "end_date": None, "class_codes": frozenset(), "model": None}
NOON = dt.datetime(2022, 4, 30, 12, tzinfo=dt.UTC)
MIDNIGHT = NOON.replace(hour=0)


def test_unset_and_empty_fields_restrict_nothing() -> None:
    assert product_query(**UNSET) == ProductQuery()
    assert product_query(**(UNSET | {"wkt": "", "model": ""}), product_ids=[]) == ProductQuery()


@pytest.mark.parametrize(
    ("requested", "limit"), [(None, 500), (0, 500), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)]
)
def test_the_limit_is_500_by_default_and_at_most(requested: int | None, limit: int) -> None:
    assert parse_result_limit(requested) == limit


def test_an_end_at_midnight_is_the_whole_day() -> None:
    query = product_query(**(UNSET | {"start_date": MIDNIGHT, "end_date": MIDNIGHT}))
    assert (query.start, query.end) == (MIDNIGHT, dt.datetime(2022, 4, 30, 23, 59, 59, 999999, tzinfo=dt.UTC))
    assert product_query(**(UNSET | {"end_date": NOON})).end == NOON
    last = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    assert product_query(**(UNSET | {"end_date": last})).end == dt.datetime.max.replace(tzinfo=dt.UTC)


def test_a_start_after_the_end_is_refused_on_the_same_day_too() -> None:
    with pytest.raises(QueryError, match="swap") as caught:
        product_query(**(UNSET | {"start_date": NOON, "end_date": MIDNIGHT}))
    assert caught.value.field == "start_date"


def test_names_lose_their_ending_and_models_are_read() -> None:
    query = product_query(**(UNSET | {"model": "corine-unet-v12"}), product_ids=["A.SAFE", "B"])
    assert (query.product_ids, query.model) == (frozenset({"A", "B"}), ModelVersion("corine-unet", 12))


def test_categories_are_codes_and_names() -> None:
    assert parse_class_names(["312", "SEA and  ocean"]) == {312, 523}
    assert parse_class_codes([312, 312, 523]) == {312, 523}
    with pytest.raises(QueryError) as by_name:
        parse_class_names(["31"])
    with pytest.raises(QueryError) as by_code:
        parse_class_codes([31])
    assert by_name.value.field == by_code.value.field == "categories"


async def test_500_products_are_sent_and_all_are_named(facts: Facts, tmp_path: Path) -> None:
    # All 501 products link to the files of one: only the rows count here.
    product = facts.products[facts.oldest]
    with ProductStore(tmp_path).open_catalogue() as catalogue, catalogue.transaction():
        for number in range(501):
            moment = product.sensed_at + dt.timedelta(seconds=number)
            scene = replace(product.scene, day=product.scene.day + dt.timedelta(days=number))
            folder = f"products/{product.model}/{scene}/{number:016x}"
            shutil.copytree(facts.root / product.folder, tmp_path / folder, copy_function=os.link)
            catalogue.record(replace(product, product_id=f"{number:03d}", scene=scene, sensed_at=moment, folder=folder))
    v1 = "/snapearth.api.v1.DatabaseProductService"
    async with (
        running_server(tmp_path, "127.0.0.1:0") as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for n_results in (b"", b"\x30\x00", b"\x30\xf5\x03"):  # unset, 0, 501
            answers = [answer async for answer in unary_stream(channel, f"{v1}/ListSegmentation")(n_results)]
            assert len(answers) == 500
            assert b"\x22\x03500" in answers[0]  # the newest is number 500
        names = [answer async for answer in unary_stream(channel, f"{v1}/ListProductIds")(b"")]
        assert len(names) == 501
