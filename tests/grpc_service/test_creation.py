"""CreateProduct in both versions: publication, permission, and refusals that store nothing."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import grpc
import numpy as np
import pytest
import shapely
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status
from rasterio.io import MemoryFile

from earthsignature_assets.errors import AlreadyExistsError, BusyError, QueryError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.products.store.verification import verify
from earthsignature_grpc.access.token_file import Role, TokenFile
from earthsignature_grpc.client import AsyncEarthSignatureClient, EarthSignatureClient
from earthsignature_grpc.creation.creator import ProductCreator
from earthsignature_grpc.creation.publication import create_v1, create_v2
from earthsignature_grpc.wire.geobuf_reader import read_frame
from tests.grpc_service.conftest import StartServer
from tests.raw_calls import unary_unary

PRODUCT_ID = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"
MODEL = "partner-net-v3"
V1 = "/snapearth.api.v1.DatabaseProductService"
V2 = "/snapearth.api.v2.DatabaseProductService"
LEGACY = "/snapearth.api.v1.database.DatabaseProductService"
TILE = tile_grid("32TQM")
GRID = PixelGrid(TILE.epsg, TILE.left_m + 4000, TILE.top_m - 6000, 10.0, 80, 60)
ABSENT = object()


def _tiff(values: np.ndarray, grid: PixelGrid = GRID, **changes: Any) -> bytes:
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "compress": "deflate",
    }
    profile |= {"dtype": values.dtype, "crs": f"EPSG:{grid.epsg}", "transform": grid.transform} | changes
    with MemoryFile() as file:
        with file.open(**profile) as raster:
            for band in range(1, profile["count"] + 1):
                raster.write(values.astype(profile["dtype"]), band)
        return bytes(file.read())


def _codes() -> np.ndarray:
    codes = np.full((60, 80), 312, np.uint16)
    codes[:, 40:] = 211
    codes[:20, :10] = 0
    return codes


def _cloud() -> np.ndarray:
    cloud = np.zeros((30, 40), np.uint8)
    cloud[20:, 30:] = 1
    return cloud


COARSE = GRID.at_resolution(20.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("created") / "store"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    return TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def channel(start_server: StartServer, store: Path, tokens: TokenFile, server_log: Path) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1)]
    with (
        start_server(store, "--tokens", str(tokens.path), log=server_log) as (address, _),
        grpc.insecure_channel(address, options) as it,
    ):
        yield it


@pytest.fixture(scope="module")
def writer(tokens: TokenFile) -> str:
    return tokens.add("ingest", Role.WRITER, dt.timedelta(days=1))


@pytest.fixture
def create(channel: grpc.Channel, writer: str) -> Callable[..., Any]:
    def call(request: Any, service: str, authorization: str | None = None) -> Any:
        content = request if isinstance(request, bytes) else request.SerializeToString()
        metadata = (("authorization", authorization or f"Bearer {writer}"),)
        return unary_unary(channel, f"{service}/CreateProduct")(content, timeout=60, metadata=metadata)

    return call


def _set(values: Any, properties: Any, keys: Any, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if value is ABSENT:
            continue
        properties.extend([len(keys), len(values)])
        keys.append(name)
        values.add(json_value=json.dumps(value))


def _v1_request(stubs: SimpleNamespace, product_id: str = PRODUCT_ID, **changes: Any) -> Any:
    facts = {"product_id": product_id, "model": MODEL, "confidence": 80, "source": "https://stac.example/item"}
    facts |= changes.pop("facts", {})
    request = stubs.v1.CreateProductRequest(segmentation=_tiff(_codes()), cloud_mask=_tiff(_cloud(), COARSE))
    request.data.dimensions, request.data.precision = 2, 6
    if changes.pop("collection", False):
        collection = request.data.feature_collection
        _set(collection.values, collection.custom_properties, request.data.keys, facts)
    else:
        feature = request.data.feature
        feature.geometry.type = 4
        ring = np.rint(shapely.get_coordinates(changes.pop("footprint", GRID.footprint()))[:-1] * 1e6).astype(np.int64)
        feature.geometry.coords.extend(np.diff(ring, axis=0, prepend=[[0, 0]]).ravel().tolist())
        _set(feature.values, feature.properties, request.data.keys, facts)
    for field, value in changes.items():
        setattr(request, field, value)
    return request


def _stored(store: Path) -> int:
    with ProductStore(store).open_catalogue() as catalogue:
        return sum(1 for _ in catalogue.all_products())


def test_a_product_of_version_1_is_served_in_both_versions(
    create: Callable[..., Any], channel: grpc.Channel, stubs: SimpleNamespace, store: Path
) -> None:
    assert create(_v1_request(stubs), V1) == b""
    (answer,) = stubs.v1_google.DatabaseProductServiceStub(channel).ListSegmentation(
        stubs.v1.ListSegmentationRequest(product_ids=[PRODUCT_ID]), timeout=60
    )
    assert (answer.product_id, answer.product_type) == (PRODUCT_ID, "S2MSI2A")
    with MemoryFile(answer.segmentation) as file, file.open() as raster:
        assert np.array_equal(raster.read(1), _codes())
        assert (raster.crs.to_epsg(), raster.transform, raster.nodata) == (GRID.epsg, GRID.transform, 0)
        assert raster.tags(1)["312"].startswith("Coniferous forest")
    with MemoryFile(answer.cloud_mask) as file, file.open() as raster:
        assert np.array_equal(raster.read(1), _cloud())
    assert answer.cloud_cover == pytest.approx(100 * 400 / 4600)
    assert shapely.from_wkt(answer.wkt).equals_exact(shapely.MultiPolygon([GRID.footprint()]), 1e-5)
    (polygons,) = stubs.v2_google.DatabaseProductServiceStub(channel).ListSegmentation(
        stubs.v2.ListSegmentationRequest(product_ids=[PRODUCT_ID]), timeout=60
    )
    frame = read_frame(polygons.segmentation.SerializeToString())
    assert sorted(frame["code"]) == [211, 312]
    assert frame["area_m2"].sum() == 4600 * 100
    assert frame["mean_confidence"].tolist() == [80, 80]
    with ProductStore(store).open_catalogue() as catalogue:
        product = catalogue.find(PRODUCT_ID, ModelVersion.parse(MODEL))
        assert product is not None
        assert not any(damage for _, damage in verify(ProductStore(store).storage, catalogue))
    item = json.loads((store / product.folder / Asset.ITEM).read_bytes())
    sources = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert sources == ["https://stac.example/item"]
    with pytest.raises(grpc.RpcError) as caught:
        create(_v1_request(stubs), V1)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_an_answer_of_version_2_can_be_created_for_another_model(
    create: Callable[..., Any], channel: grpc.Channel, stubs: SimpleNamespace
) -> None:
    product_id = PRODUCT_ID.replace("T32TQM_20260501T14", "T32TQM_20260501T15")
    create(_v1_request(stubs, product_id), LEGACY)
    stub = stubs.v2_google.DatabaseProductServiceStub(channel)
    (answer,) = stub.ListSegmentation(stubs.v2.ListSegmentationRequest(product_ids=[product_id]), timeout=60)
    request = stubs.v2.CreateProductRequest(product=answer.segmentation)
    collection = request.product.feature_collection
    place = list(request.product.keys).index("model")
    for key, value in zip(collection.custom_properties[::2], collection.custom_properties[1::2], strict=True):
        if key == place:
            collection.values[value].string_value = "partner-net-v4"
    create(request, V2)
    # A client of 2022 has no field for the model, so append its bytes.
    chosen = (
        stubs.v2.ListSegmentationRequest(product_ids=[product_id]).SerializeToString() + b"\xa2\x01\x0epartner-net-v4"
    )
    (again,) = stub.ListSegmentation(stubs.v2.ListSegmentationRequest.FromString(chosen), timeout=60)
    was, now = (read_frame(reply.segmentation.SerializeToString()) for reply in (answer, again))
    assert was.geometry.tolist() == now.geometry.tolist()
    assert (was["code"].tolist(), was["mean_confidence"].tolist()) == (
        now["code"].tolist(),
        now["mean_confidence"].tolist(),
    )
    (raster_answer,) = stubs.v1_google.DatabaseProductServiceStub(channel).ListSegmentation(
        stubs.v1.ListSegmentationRequest.FromString(chosen), timeout=60
    )
    with MemoryFile(raster_answer.segmentation) as file, file.open() as raster:
        assert (raster.transform, raster.shape) == (GRID.transform, GRID.shape)
        assert np.array_equal(raster.read(1), _codes())


def test_a_collection_of_facts_is_enough_and_the_footprint_is_the_valid_pixels(
    create: Callable[..., Any], channel: grpc.Channel, stubs: SimpleNamespace
) -> None:
    product_id = PRODUCT_ID.replace("T141516", "T161516")
    create(_v1_request(stubs, product_id, collection=True, facts={"cloud_cover": 12.5}), V1)
    (answer,) = stubs.v1_google.DatabaseProductServiceStub(channel).ListSegmentation(
        stubs.v1.ListSegmentationRequest(product_ids=[product_id]), timeout=60
    )
    assert answer.cloud_cover == 12.5
    footprint = shapely.from_wkt(answer.wkt)
    assert footprint.is_valid
    assert GRID.footprint().buffer(1e-6).covers(footprint)
    assert footprint.area > 0.9 * GRID.footprint().area * 46 / 48


OTHER = PRODUCT_ID.replace("T141516", "T171516")
SHIFTED = PixelGrid(GRID.epsg, GRID.left_m + 10, GRID.top_m, 10.0, 80, 60)
OUTSIDE = PixelGrid(GRID.epsg, TILE.left_m + 109_400, GRID.top_m, 10.0, 80, 60)
NEXT_ZONE = PixelGrid(32633, GRID.left_m, GRID.top_m, 10.0, 80, 60)


def _with(value: int) -> np.ndarray:
    codes = _codes()
    codes[30, 30] = value
    return codes


def _lying() -> bytes:
    """Make a GeoTIFF whose header declares a whole tile, but whose file ends after the first pixels."""
    content = _tiff(np.zeros((512, 512), np.uint16), TILE, compress=None)
    return content.replace((512).to_bytes(2, "little"), (10_980).to_bytes(2, "little"))


def _bomb() -> bytes:
    """Make a GeoTIFF of a few kilobytes that declares 60,000 x 60,000 pixels."""
    profile = {"driver": "GTiff", "height": 60_000, "width": 60_000, "count": 1, "dtype": "uint16", "tiled": True}
    profile |= {"SPARSE_OK": True, "crs": f"EPSG:{GRID.epsg}", "transform": GRID.transform, "compress": "deflate"}
    with MemoryFile() as file:
        with file.open(**profile):
            pass
        return bytes(file.read())


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"segmentation": b""}, "segmentation", "missing"),
        ({"segmentation": b"II*\0 no TIFF"}, "segmentation", "GeoTIFF"),
        ({"segmentation": b"<VRTDataset/>"}, "segmentation", "GeoTIFF"),
        ({"segmentation": _tiff(_codes())[:-100]}, "segmentation", ""),
        ({"segmentation": _lying()}, "segmentation", ""),
        ({"segmentation": _bomb()}, "segmentation", "60000"),
        ({"segmentation": _tiff(_codes(), count=2)}, "segmentation", "2 bands"),
        ({"segmentation": _tiff(_codes(), dtype="float32")}, "segmentation", "float32"),
        ({"segmentation": _tiff(_codes(), SHIFTED)}, "segmentation", "off the grid"),
        ({"segmentation": _tiff(_codes(), OUTSIDE)}, "segmentation", "off the grid"),
        ({"segmentation": _tiff(_codes(), NEXT_ZONE)}, "segmentation", "EPSG:32632"),
        ({"segmentation": _tiff(_codes(), crs=None)}, "segmentation", "not georeferenced"),
        ({"segmentation": _tiff(_codes(), COARSE)}, "segmentation", "not georeferenced"),
        ({"segmentation": _tiff(_with(314))}, "segmentation", "314"),
        ({"segmentation": _tiff(_with(65535))}, "segmentation", "65535"),
        ({"segmentation": _tiff(np.zeros_like(_codes()))}, "data", "no pixel"),
        ({"cloud_mask": b""}, "cloud_mask", "missing"),
        ({"cloud_mask": _tiff(_cloud()[:, :-1], COARSE)}, "cloud_mask", "not on the grid"),
        ({"cloud_mask": _tiff(_cloud() * 2, COARSE)}, "cloud_mask", "values other"),
        ({"facts": {"product_id": "../../etc/passwd"}}, "data", "not a Sentinel-2 product name"),
        ({"facts": {"product_id": OTHER + "/.."}}, "data", "not a Sentinel-2 product name"),
        ({"facts": {"product_id": ABSENT}}, "data", "product_id"),
        ({"facts": {"model": "../x-v1"}}, "data", "not a model version"),
        ({"facts": {"model": ABSENT}}, "data", "model"),
        ({"facts": {"sensed_at": "2026-05-09T10:00:00Z"}}, "data", "sensed_at"),
        ({"facts": {"sensed_at": "yesterday"}}, "data", "sensed_at"),
        ({"facts": {"cloud_cover": 101}}, "data", "percentage"),
        ({"facts": {"cloud_cover": True}}, "data", "percentage"),
        ({"facts": {"source": "x\ny"}}, "data", "URL"),
        ({"facts": {"source": "javascript:alert(1)"}}, "data", "URL"),
        ({"facts": {"source": "file:///etc/passwd"}}, "data", "URL"),
        ({"footprint": shapely.Polygon([(11, 45), (12, 46), (11, 46), (12, 45)])}, "data", "not a valid polygon"),
    ],
)  # fmt: skip
def test_an_invalid_product_is_refused_and_nothing_is_stored(
    stubs: SimpleNamespace, tmp_path: Path, changes: dict[str, Any], field: str, reason: str
) -> None:
    request = _v1_request(stubs, **({"product_id": OTHER} | changes)).SerializeToString()
    with pytest.raises(QueryError) as caught:
        create_v1(ProductStore(tmp_path / "store"), request, tmp_path)
    assert caught.value.field == field
    assert reason in caught.value.remedy
    assert _stored(tmp_path / "store") == 0
    assert not list((tmp_path / "store").glob("products/*"))


def test_a_refused_product_is_named_to_its_client_and_logged(
    create: Callable[..., Any], stubs: SimpleNamespace, store: Path, server_log: Path
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        create(_v1_request(stubs, OTHER, segmentation=_lying()), V1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert _violation(caught.value).field == "segmentation"
    assert "CreateProduct: segmentation: " in server_log.read_text()
    assert not list(store.glob(".staging/*"))


def _violation(error: grpc.RpcError) -> BadRequest.FieldViolation:
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    assert status is not None
    (packed,) = status.details
    detail = BadRequest()
    assert packed.Unpack(detail)
    return detail.field_violations[0]


def _v2_request(stubs: SimpleNamespace, boxes: list[tuple[Any, shapely.Polygon]], **facts: Any) -> Any:
    request = stubs.v2.CreateProductRequest()
    data = request.product
    data.dimensions, data.precision = 2, 6
    data.keys.append("code")
    for number, (code, box) in enumerate(boxes):
        feature = data.feature_collection.features.add(id=str(number), properties=[0, 0])
        feature.values.add(json_value=json.dumps(code))
        feature.geometry.type = 4
        ring = np.rint(shapely.get_coordinates(box)[:-1] * 1e6).astype(np.int64)
        feature.geometry.coords.extend(np.diff(ring, axis=0, prepend=[[0, 0]]).ravel().tolist())
    collection = data.feature_collection
    _set(collection.values, collection.custom_properties, data.keys, {"product_id": OTHER, "model": MODEL} | facts)
    return request


_WEST, _SOUTH = GRID.footprint().bounds[:2]
SQUARE = shapely.box(_WEST, _SOUTH, _WEST + 0.01, _SOUTH + 0.01)
BOW = shapely.Polygon([(_WEST, _SOUTH), (_WEST + 0.01, _SOUTH + 0.01), (_WEST, _SOUTH + 0.01), (_WEST + 0.01, _SOUTH)])


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([], "no polygon"),
        ([(314, SQUARE)], "314"),
        ([("x", SQUARE)], "give CORINE"),
        ([(True, SQUARE)], "give CORINE"),
        ([(312, BOW)], "not a valid polygon"),
        ([(312, shapely.box(0, 0, 1, 1))], "outside tile"),
        ([(312, SQUARE), (211, SQUARE)], "overlap"),
        ([(312, SQUARE), (211, shapely.box(_WEST + 0.02, _SOUTH, _WEST + 0.020002, _SOUTH + 0.000002))], "smaller"),
    ],
)
def test_invalid_polygons_are_refused(
    stubs: SimpleNamespace, tmp_path: Path, boxes: list[tuple[Any, shapely.Polygon]], reason: str
) -> None:
    with pytest.raises(QueryError, match=reason) as caught:
        create_v2(ProductStore(tmp_path / "store"), _v2_request(stubs, boxes).SerializeToString(), tmp_path)
    assert caught.value.field == "product"
    assert _stored(tmp_path / "store") == 0


@pytest.mark.parametrize("create_product", [create_v1, create_v2])
@pytest.mark.parametrize("request_bytes", [b"\x0a\x50short", b"\x12\x01", b"\xff" * 20, b"", b"\x0a\x02\x2a\x00"])
def test_malformed_requests_are_refused(
    create_product: Callable[..., Any], request_bytes: bytes, tmp_path: Path
) -> None:
    with pytest.raises(QueryError):
        create_product(ProductStore(tmp_path / "store"), request_bytes, tmp_path)


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
def test_writing_needs_a_writers_token(
    create: Callable[..., Any], tokens: TokenFile, writer: str, service: str
) -> None:
    for header in (
        "Bearer",
        "Bearer x",
        "Basic " + writer,
        writer,
        "Bearer " + writer[:-1],
        "Bearer \u2603".encode().hex(),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            create(b"", service, header)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, header


def test_roles_and_revocations_take_effect_at_once(create: Callable[..., Any], tokens: TokenFile) -> None:
    reader = tokens.add("reader", Role.READER, dt.timedelta(days=1))
    with pytest.raises(grpc.RpcError) as caught:
        create(b"", V1, f"bearer {reader}")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    expired = tokens.add("expired", Role.WRITER, dt.timedelta(0))
    other = tokens.add("other", Role.WRITER, dt.timedelta(days=1))
    # The second request is not a product, but it passes the token check.
    for secret, code in ((expired, grpc.StatusCode.UNAUTHENTICATED), (other, grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.RpcError) as caught:
            create(b"", V1, f"Bearer {secret}")
        assert caught.value.code() is code
    tokens.revoke("other")
    with pytest.raises(grpc.RpcError) as caught:
        create(b"", V1, f"Bearer {other}")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_without_a_credential_the_request_is_not_read(channel: grpc.Channel) -> None:
    # 60 MB exceed gRPC's buffers: the refusal arrives while the client still holds most of them.
    with pytest.raises(grpc.RpcError) as caught:
        unary_unary(channel, f"{V1}/CreateProduct")(bytes(60 << 20), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_cancelled_creation_leaves_nothing(stubs: SimpleNamespace, tmp_path: Path) -> None:
    store = tmp_path / "store"
    creator = ProductCreator(ProductStore(store))
    request = _v1_request(stubs).SerializeToString()
    task = asyncio.create_task(creator.create("v1", request, "test"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert creator._waiting == 0
    assert not list(store.glob("products/*"))
    assert await creator.create("v1", request, "test") == PRODUCT_ID


async def test_only_a_few_may_wait(stubs: SimpleNamespace, tmp_path: Path) -> None:
    creator = ProductCreator(ProductStore(tmp_path / "store"))
    tasks = [asyncio.create_task(creator.create("v1", b"", "test")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await creator.create("v1", b"", "test")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_the_python_clients_create_from_rasters_and_from_polygons(
    start_server: StartServer, tokens: TokenFile, writer: str, tmp_path: Path
) -> None:
    facts: dict[str, Any] = {
        "model": MODEL,
        "sensed_at": dt.datetime(2026, 5, 1, 10, 17, tzinfo=dt.UTC),
        "source": "https://a.example",
    }
    (tmp_path / "cloud.tif").write_bytes(_tiff(_cloud(), COARSE))
    west, south, east, north = GRID.bounds
    boxes = [shapely.box(west, south, east, north), shapely.box(east, south, east + 400, north)]
    frame = gpd.GeoDataFrame({"code": [312, 211], "mean_confidence": [70.0, 55.5]}, geometry=boxes, crs=GRID.epsg)
    from_rasters, from_polygons = PRODUCT_ID, PRODUCT_ID.replace("101559", "101600")

    async def create_from_polygons(address: str) -> None:
        async with AsyncEarthSignatureClient(address, token=writer, timeout_s=60) as client:
            await client.create_v2(frame, product_id=from_polygons, **facts)
            with pytest.raises(AlreadyExistsError):
                await client.create_v2(frame, product_id=from_polygons, **facts)

    with (
        start_server(tmp_path / "store", "--tokens", str(tokens.path), log=tmp_path / "log") as (address, _),
        EarthSignatureClient(address, token=writer, timeout_s=60) as client,
    ):
        client.create_v1(
            _tiff(_codes()),
            tmp_path / "cloud.tif",
            footprint=GRID.footprint(),
            product_id=from_rasters,
            confidence_percent=80,
            cloud_cover_percent=12.5,
            **facts,
        )
        asyncio.run(create_from_polygons(address))
        made = {product.product_id: product for product in client.segmentations_v1()}
        frames = [answer.frame() for answer in client.polygons_v2()]
        drawn = {frame.attrs["product_id"]: frame for frame in frames}
    assert made.keys() == drawn.keys() == {from_rasters, from_polygons}
    assert (made[from_rasters].land_cover_array().to_numpy() == _codes()).all()
    assert made[from_rasters].cloud_cover_percent == 12.5
    sent = drawn[from_polygons]
    assert sorted(zip(sent["code"], sent["mean_confidence"], strict=True)) == [(211, 55.5), (312, 70.0)]


@pytest.mark.parametrize(
    ("frame", "remedy"),
    [
        (gpd.GeoDataFrame({"code": [312]}, geometry=[GRID.footprint()]), "a CRS"),
        (gpd.GeoDataFrame({"class": [312]}, geometry=[GRID.footprint()], crs=4326), "`code`"),
        (gpd.GeoDataFrame({"code": ["312"]}, geometry=[GRID.footprint()], crs=4326), "`code`"),
        (gpd.GeoDataFrame({"code": [999]}, geometry=[GRID.footprint()], crs=4326), "999"),
        (gpd.GeoDataFrame({"code": [312]}, geometry=[shapely.Point(0, 0)], crs=4326), "geometries"),
    ],
)
def test_an_invalid_frame_is_refused_before_it_is_sent(frame: gpd.GeoDataFrame, remedy: str) -> None:
    with EarthSignatureClient("localhost:1") as client, pytest.raises(QueryError, match=remedy):
        client.create_v2(frame, product_id=PRODUCT_ID, model=MODEL)


def test_an_unreadable_raster_is_named_before_it_is_sent(tmp_path: Path) -> None:
    with EarthSignatureClient("localhost:1") as client, pytest.raises(QueryError, match="land_cover"):
        client.create_v1(tmp_path / "absent.tif", b"", product_id=PRODUCT_ID, model=MODEL)
