"""A store that tests fill product by product, and a service over it."""

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely

from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.keys import ModelVersion, SceneKey, relative_orbit_of
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.item import content_digest, item_bytes, multihash
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.client import AsyncEarthSignatureClient, EarthSignatureClient
from earthsignature_grpc.server.server import running_server

MODEL = ModelVersion("corine-unet", 1)
Serve = Callable[[Path], AbstractContextManager[str]]


@dataclass
class Shelf:
    """A store with real files and a real catalogue; products skip the validation of the chain."""

    store: ProductStore
    catalogue: Catalogue
    products: list[Product] = field(default_factory=list)

    def put(
        self,
        product_id: str,
        codes: npt.NDArray[np.uint16] | None = None,
        cloud: npt.NDArray[np.uint8] | None = None,
        *,
        corner: tuple[int, int] = (0, 0),
        model: ModelVersion = MODEL,
        cloud_percent: float = 10.0,
    ) -> Product:
        """Publish a product whose rasters are offset from its tile's corner, in pixels right and down."""
        codes = np.full((64, 64), 311, np.uint16) if codes is None else codes
        cloud = np.zeros((codes.shape[0] // 2, codes.shape[1] // 2), np.uint8) if cloud is None else cloud
        sensed_at = dt.datetime.strptime(product_id.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        tile = product_id.split("_")[5][1:]
        scene = SceneKey(sensed_at.date(), relative_orbit_of(product_id), tile)
        whole = tile_grid(tile)
        grid = PixelGrid(
            whole.epsg,
            whole.left_m + 10 * corner[0],
            whole.top_m - 10 * corner[1],
            10.0,
            codes.shape[1],
            codes.shape[0],
        )
        contents = {
            Asset.LAND_COVER: _geotiff(codes, grid),
            Asset.CLOUD_MASK: _geotiff(cloud, grid.at_resolution(20.0)),
            Asset.THUMBNAIL: b"a picture",
        }
        item: dict[str, Any] = {
            "properties": {"created": "2026-06-01T00:00:00Z"},
            "assets": {
                asset.name.lower(): {
                    "href": f"./{asset.value}",
                    "file:checksum": multihash(content),
                    "file:size": len(content),
                }
                for asset, content in contents.items()
            },
        }
        folder = f"products/{model}/{scene}/{content_digest(item)}"
        (self.store.root / folder).mkdir(parents=True, exist_ok=True)
        for asset, content in {**contents, Asset.ITEM: item_bytes(item)}.items():
            (self.store.root / folder / asset.value).write_bytes(content)
        product = Product(
            product_id=product_id,
            scene=scene,
            model=model,
            product_type="S2MSI2A",
            sensed_at=sensed_at,
            published_at=dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
            footprint=grid.footprint(),
            cloud_cover_percent=cloud_percent,
            class_codes=frozenset(np.unique(codes).tolist()) - {0},
            folder=folder,
        )
        self.catalogue.record(product)
        self.products.append(product)
        return product

    def content(self, product: Product, asset: Asset) -> bytes:
        return (self.store.root / product.folder / asset.value).read_bytes()


def _geotiff(pixels: npt.NDArray[Any], grid: PixelGrid) -> bytes:
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1}
    profile |= {"dtype": pixels.dtype, "crs": f"EPSG:{grid.epsg}", "transform": grid.transform, "compress": "deflate"}
    with rasterio.MemoryFile() as file:
        with file.open(**profile) as raster:
            raster.write(pixels, 1)
        return bytes(file.read())


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    store = ProductStore(tmp_path / "store")
    with store.open_catalogue() as catalogue:
        yield Shelf(store, catalogue)


@contextmanager
def _served(store: Path) -> Iterator[str]:
    """Serve a store from an event loop in a thread, which starts in milliseconds where a process takes seconds."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        stopped = asyncio.Event()
        async with running_server(store, "127.0.0.1:0") as port:
            ready.set_result((asyncio.get_running_loop(), stopped, port))
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, stopped, port = ready.result(timeout=30)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


@pytest.fixture
def name_of() -> Callable[..., str]:
    """Return a function that names a Sentinel-2 product of a tile, on a day counted from 1 January 2026."""

    def name(tile: str = "32TQM", day: int = 1) -> str:
        sensed_at = dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC) + dt.timedelta(days=day - 1)
        return f"S2B_MSIL2A_{sensed_at:%Y%m%dT%H%M%S}_N0511_R022_T{tile}_{sensed_at:%Y%m%dT%H%M%S}"

    return name


@pytest.fixture
def serve() -> Serve:
    """Return a context that serves a store."""
    return _served


@pytest.fixture
def address(shelf: Shelf) -> Iterator[str]:
    """The address of a service on the shelf."""
    with _served(shelf.store.root) as address:
        yield address


Ask = Callable[..., Any]


def _with_threads(target: str, method: str, *arguments: Any, **options: Any) -> Any:
    with EarthSignatureClient(target, timeout_s=20) as client:
        answer = getattr(client, method)(*arguments, **options)
        return list(answer) if hasattr(answer, "__next__") else answer


def _with_asyncio(target: str, method: str, *arguments: Any, **options: Any) -> Any:
    async def ask() -> Any:
        async with AsyncEarthSignatureClient(target, timeout_s=20) as client:
            answer = getattr(client, method)(*arguments, **options)
            if hasattr(answer, "__anext__"):
                return [entry async for entry in answer]
            return await answer

    return asyncio.run(ask())


@pytest.fixture(params=[_with_threads, _with_asyncio], ids=["threads", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Return a function that calls a method of one of the two clients and collects streamed answers."""
    ask: Ask = request.param
    return ask


@pytest.fixture
def client(address: str) -> Iterator[EarthSignatureClient]:
    with EarthSignatureClient(address, timeout_s=20) as client:
        yield client


@pytest.fixture
def boxed() -> Callable[..., shapely.Polygon]:
    """Return a function that makes a polygon in EPSG:4326 from the pixels of a tile."""

    def box(tile: str, left: int, top: int, width: int, height: int) -> shapely.Polygon:
        whole = tile_grid(tile)
        grid = PixelGrid(whole.epsg, whole.left_m + 10 * left, whole.top_m - 10 * top, 10.0, width, height)
        return grid.footprint(step_m=50.0)

    return box
