"""The same new product through two servers of one store at once: one is published, and one client is refused."""

import datetime as dt
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from rasterio.io import MemoryFile

from earthsignature_assets.errors import AlreadyExistsError
from earthsignature_assets.grid import PixelGrid, tile_grid
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import PRODUCT_DEPTH, PRODUCTS, ProductStore
from earthsignature_assets.products.store.verification import verify
from earthsignature_grpc.access.token_file import Role, TokenFile
from earthsignature_grpc.client import EarthSignatureClient

PRODUCT_ID = "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516"
MODEL = "partner-net-v3"
TILE = tile_grid("32TQM")
GRID = PixelGrid(TILE.epsg, TILE.left_m, TILE.top_m, 10.0, 80, 60)
FORESTS, FIELDS = 312, 211


def _tiff(values: np.ndarray, grid: PixelGrid) -> bytes:
    profile = {"driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": values.dtype}
    with MemoryFile() as file:
        with file.open(crs=f"EPSG:{grid.epsg}", transform=grid.transform, **profile) as raster:
            raster.write(values, 1)
        return bytes(file.read())


@contextmanager
def _server(store: Path, tokens: Path, log: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(store), "--listen", "127.0.0.1:0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, "--tokens", str(tokens)], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, log.read_text()
            yield line.split()[-1]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _create(address: str, token: str, code: int, model: str = MODEL) -> None:
    codes, cloud = np.full(GRID.shape, code, np.uint16), np.zeros((30, 40), np.uint8)
    with EarthSignatureClient(address, token=token, timeout_s=120) as client:
        client.create_v1(_tiff(codes, GRID), _tiff(cloud, GRID.at_resolution(20.0)), product_id=PRODUCT_ID, model=model)


def _class_of(store: ProductStore, product: Product) -> int:
    with MemoryFile(store.read(product, Asset.LAND_COVER)) as file, file.open() as raster:
        (code,) = np.unique(raster.read(1))
    return int(code)


def _folders(store: ProductStore) -> list[str]:
    folders = [folder.name for folder in store.storage.folders(PRODUCTS, PRODUCT_DEPTH)]
    return [folder for folder in folders if MODEL in folder]


def _wait_for_both(store: ProductStore, outcomes: list[Future[None]]) -> None:
    """Wait until both creations have placed their files and wait for the lock to record them."""
    deadline = time.monotonic() + 60
    while len(_folders(store)) < 2:
        assert time.monotonic() < deadline, [outcome.exception() for outcome in outcomes if outcome.done()]
        time.sleep(0.02)


def test_one_is_published_and_the_other_client_is_refused(tmp_path: Path) -> None:
    store, tokens = ProductStore(tmp_path / "store"), TokenFile(tmp_path / "tokens.json")
    token = tokens.add("ingest", Role.WRITER, dt.timedelta(days=1))
    with store.open_catalogue() as catalogue, ExitStack() as stack:
        addresses = [
            stack.enter_context(_server(store.root, tokens.path, tmp_path / f"{number}.log")) for number in (1, 2)
        ]
        # Compilation during the very first creation takes longer than the lock may be waited for.
        _create(addresses[0], token, FORESTS, "partner-net-v2")
        threads = stack.enter_context(ThreadPoolExecutor(2))
        with catalogue.transaction():  # nobody can record anything meanwhile
            outcomes = [
                threads.submit(_create, address, token, code)
                for address, code in zip(addresses, (FORESTS, FIELDS), strict=True)
            ]
            _wait_for_both(store, outcomes)
        faults = [outcome.exception(timeout=60) for outcome in outcomes]
        assert [type(fault) for fault in faults] in (
            [type(None), AlreadyExistsError],
            [AlreadyExistsError, type(None)],
        )
        (product,) = (product for product in catalogue.all_products() if str(product.model) == MODEL)
        assert _class_of(store, product) == (FORESTS, FIELDS)[faults.index(None)]
        assert _folders(store) == [product.folder]
        assert not any(damage for _, damage in verify(store.storage, catalogue))
        for address in addresses:
            with EarthSignatureClient(address, timeout_s=20) as client:
                assert [name.product_id for name in client.product_ids(model=MODEL)] == [PRODUCT_ID]
                with pytest.raises(AlreadyExistsError):
                    _create(address, token, FORESTS)
