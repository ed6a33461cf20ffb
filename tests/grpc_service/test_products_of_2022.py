"""The 657 products that the service of 2022 listed, served again: every query selects what plain shapely selects."""

import datetime as dt
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.keys import ModelVersion, SceneKey, relative_orbit_of
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.client import EarthSignatureClient
from earthsignature_grpc.client.answers import read_raster_product

MODEL = ModelVersion("corine-unet", 1)
WHOLE_TILE = "S2B_MSIL1C_20220430T100019_N0400_R122_T33TXL_20220430T120209"


@dataclass(frozen=True)
class Listing:
    """The served products, newest first, and a client of the service."""

    products: list[Product]
    footprints: np.ndarray
    client: EarthSignatureClient

    def expected(
        self,
        area: shapely.Geometry | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
        ids: Collection[str] | None = None,
    ) -> list[str]:
        """Select the products without index, database or service, as the reference."""
        hits = np.ones(len(self.products), bool) if area is None else shapely.intersects(area, self.footprints)
        return [
            product.product_id
            for product, hit in zip(self.products, hits, strict=True)
            if hit
            and (start is None or product.sensed_at.date() >= start)
            and (end is None or product.sensed_at.date() <= end)
            and (ids is None or product.product_id in ids)
        ]


def _product(line: str) -> Product:
    entry = json.loads(line)
    name = entry["product_id"]
    sensed_at = dt.datetime.strptime(name.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    scene = SceneKey(sensed_at.date(), relative_orbit_of(name), name.split("_")[5][1:])
    return Product(
        product_id=name,
        scene=scene,
        model=MODEL,
        product_type="S2MSI1C",
        sensed_at=sensed_at,
        published_at=sensed_at,
        footprint=shapely.geometry.shape(entry["geometry"]),
        cloud_cover_percent=12.637376,
        class_codes=frozenset({311}),
        folder=f"products/{MODEL}/{scene}/{name[-15:]}",
    )


@pytest.fixture(scope="module")
def listing(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    folder = tmp_path_factory.mktemp("2022")
    with (real_data / "earthsignature_2022" / "products.jsonl").open() as lines:
        products = [_product(line) for line in lines]
    # Two ground stations received some scenes: two partial products of one baseline, which both count.
    assert len(products) == 657 > len({product.scene for product in products})
    store = ProductStore(folder / "store")
    with store.open_catalogue() as catalogue, catalogue.transaction():
        for product in products:
            catalogue.record(product)
    for product in products:
        files = store.root / product.folder
        files.mkdir(parents=True)
        for asset in (Asset.LAND_COVER, Asset.CLOUD_MASK):
            (files / asset.value).write_bytes(b"")
    products.sort(key=lambda product: product.product_id)
    products.sort(key=lambda product: product.sensed_at, reverse=True)
    footprints = np.array([product.footprint for product in products], object)
    with (
        service_process(store.root, folder / "service.log") as address,
        EarthSignatureClient(address, timeout_s=30) as client,
    ):
        yield Listing(products, footprints, client)


def _areas(listing: Listing) -> st.SearchStrategy[shapely.Geometry]:
    """Make boxes, and polygons with vertices of footprints as corners, which touch, cross and just miss footprints."""
    vertices = [tuple(vertex) for vertex in shapely.get_coordinates(listing.footprints)]
    west, south, east, north = shapely.total_bounds(listing.footprints)
    corners = st.tuples(st.floats(west - 1, east + 1), st.floats(south - 1, north + 1))
    corner = st.one_of(st.sampled_from(vertices), corners)
    boxes = st.tuples(corner, st.floats(1e-6, 3.0), st.floats(1e-6, 3.0)).map(
        lambda given: shapely.box(given[0][0], given[0][1], given[0][0] + given[1], given[0][1] + given[2])
    )
    hulls = st.lists(corner, min_size=3, max_size=6).map(lambda points: shapely.MultiPoint(points).convex_hull)
    valid = hulls.filter(lambda hull: hull.geom_type == "Polygon" and hull.is_valid and hull.area > 0)
    single = st.one_of(boxes, valid)
    pairs = st.tuples(single, single).map(shapely.GeometryCollection)
    return st.one_of(single, pairs)


def test_place_time_and_names_select_what_shapely_selects(listing: Listing) -> None:
    days = sorted({product.sensed_at.date() for product in listing.products})
    day = st.one_of(st.none(), st.sampled_from(days), st.dates(days[0], days[-1]))
    names = st.sampled_from([product.product_id for product in listing.products] + ["unknown"])

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.none(), _areas(listing)), day, day, st.lists(names, min_size=1, max_size=40, unique=True))
    def answers_alike(
        area: shapely.Geometry | None, start: dt.date | None, end: dt.date | None, ids: list[str]
    ) -> None:
        if start is not None and end is not None and start > end:
            start, end = end, start
        filters: dict[str, Any] = {"area": area, "start": start, "end": end}
        expected = listing.expected(**filters)
        assert [name.product_id for name in listing.client.product_ids(**filters)] == expected
        whole = listing.client.segmentations_v1(**filters, product_ids=ids)
        assert [product.product_id for product in whole] == listing.expected(**filters, ids=set(ids))

    answers_alike()


def test_all_are_listed_with_their_footprints(listing: Listing) -> None:
    names = list(listing.client.product_ids())
    assert [name.product_id for name in names] == [product.product_id for product in listing.products]
    for name, product in zip(names, listing.products, strict=True):
        assert name.footprint.equals_exact(product.footprint, 0)
        assert name.acquired_on == product.sensed_at.date()


def test_a_response_of_2022_is_read(real_data: Path, stubs: SimpleNamespace) -> None:
    folder = real_data / "earthsignature_2022"
    content = json.loads((folder / "33TXL_response.json").read_text())
    response = stubs.v1.SegmentationResponse(
        segmentation=(folder / "33TXL_segmentation.tif").read_bytes(),
        cloud_mask=(folder / "33TXL_cloud_mask.tif").read_bytes(),
        wkt=content["wkt"],
        product_id=content["productId"],
        quicklook=content["quicklook"],
        product_type=content["productType"],
        cloud_cover=float(content["cloudCover"]),
        download_url=content["downloadUrl"],
    )
    response.creation_date.FromJsonString(content["creationDate"])
    response.publication_date.FromJsonString(content["publicationDate"])
    product = read_raster_product(response.SerializeToString())
    assert (product.product_id, product.model, product.acquired_on) == (WHOLE_TILE, "", dt.date(2022, 4, 30))
    assert product.footprint.equals(shapely.from_wkt(content["wkt"]))
    classes, cloud = product.land_cover_array(), product.cloud_mask_array()
    assert (classes.shape, classes.dtype, classes.rio.crs.to_epsg()) == ((10980, 10980), np.uint16, 32633)
    assert (cloud.shape, cloud.dtype) == ((5490, 5490), np.uint8)
    assert set(np.unique(classes)) <= set(classes.attrs["flag_values"])


async def test_google_stubs_on_asyncio_receive_all(listing: Listing, stubs: SimpleNamespace) -> None:
    async with grpc.aio.insecure_channel(listing.client._connection.target) as channel:
        stub = stubs.v1_google.DatabaseProductServiceStub(channel)
        names = [
            answer.product_id async for answer in stub.ListProductIds(stubs.v1.ListProductIdsRequest(), timeout=30)
        ]
    assert names == [product.product_id for product in listing.products]
