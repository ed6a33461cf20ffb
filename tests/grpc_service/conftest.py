"""A small real store, a real server on loopback, and client code generated as in 2022."""

import datetime as dt
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import grpc_tools
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.keys import ModelVersion, SceneKey, relative_orbit_of
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.wire.descriptors import wire_class

FIRST, SECOND = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 2)
NEWEST = "S2B_MSIL2A_20220430T100019_N0400_R122_T33TXL_20220430T120209"
SAME_DAY = "S2B_MSIL1C_20220430T095029_N0400_R079_T33UUQ_20220430T120000"
MIDDLE = "S2A_MSIL2A_20220427T095549_N0400_R122_T32TQS_20220427T120000"
OLDEST = "S2A_MSIL2A_20210627T100031_N0300_R122_T33TXL_20210627T130000"
CONTRACT = Path(__file__).parent / "contract"

StartServer = Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[str]]]]


@dataclass(frozen=True)
class Facts:
    """A store on disk and its known content."""

    root: Path
    products: dict[str, Product]
    second: Product  # `newest`, as the second model sees it; the first model is the current one
    newest: str = NEWEST
    same_day: str = SAME_DAY
    middle: str = MIDDLE
    oldest: str = OLDEST

    @property
    def newest_first(self) -> list[str]:
        return [self.newest, self.same_day, self.middle, self.oldest]

    def content(self, product: str | Product, asset: Asset) -> bytes:
        folder = (self.products[product] if isinstance(product, str) else product).folder
        return (self.root / folder / asset.value).read_bytes()

    def polygons(self, product_id: str) -> list[tuple[int, shapely.Polygon]]:
        """Return class and shape of the polygons in the product's Geobuf."""
        return _polygons(self.products[product_id])


def _product(product_id: str, footprint: BaseGeometry, cloud: float, codes: set[int]) -> Product:
    sensed_at = dt.datetime.strptime(product_id.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    scene = SceneKey(sensed_at.date(), relative_orbit_of(product_id), product_id.split("_")[5][1:])
    return Product(
        product_id=product_id,
        scene=scene,
        model=FIRST,
        product_type="S2MSI1C" if "MSIL1C" in product_id else "S2MSI2A",
        sensed_at=sensed_at,
        published_at=sensed_at + dt.timedelta(days=1),
        footprint=footprint,
        cloud_cover_percent=cloud,
        class_codes=frozenset(codes),
        folder=f"products/{FIRST}/{scene}/0123456789abcdef",
    )


def _polygons(product: Product) -> list[tuple[int, shapely.Polygon]]:
    """Make one polygon per class, side by side, the first with a hole, rounded to six decimals."""
    west, south, *_ = product.footprint.bounds
    shapes: list[tuple[int, Any]] = []
    for column, code in enumerate(sorted(product.class_codes)):
        outer = shapely.box(west + 0.01 * column, south, west + 0.01 * (column + 1), south + 0.02)
        hole = shapely.box(west + 0.002, south + 0.002, west + 0.004, south + 0.004)
        shape = outer.difference(hole) if column == 0 else outer
        shapes.append((code, shapely.transform(shape, lambda vertices: np.rint(vertices * 1e6) / 1e6)))
    return shapes


def _geobuf(product: Product) -> bytes:
    data: Any = wire_class("geobufproto.Data")(dimensions=2, precision=6, keys=["class_code"])
    for number, (code, shape) in enumerate(_polygons(product)):
        feature = data.feature_collection.features.add(id=f"{product.product_id}/{number}", properties=[0, 0])
        feature.values.add(json_value=str(code))
        feature.geometry.type = 4
        rings = [shape.exterior, *shape.interiors]
        if len(rings) > 1:
            feature.geometry.lengths.extend(len(ring.coords) - 1 for ring in rings)
        for ring in rings:
            vertices = np.rint(shapely.get_coordinates(ring)[:-1] * 1e6).astype(np.int64)
            feature.geometry.coords.extend(np.diff(vertices, axis=0, prepend=[[0, 0]]).ravel().tolist())
    return bytes(data.SerializeToString())


def _write_files(folder: Path, product: Product, seed: int) -> None:
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    codes = np.array([0, *sorted(product.class_codes)], np.uint16)
    rasters = {
        Asset.LAND_COVER: (codes[chance.integers(0, len(codes), (64, 64))], 10.0),
        Asset.CLOUD_MASK: (chance.integers(0, 2, (32, 32), np.uint8), 20.0),
    }
    for asset, (pixels, resolution) in rasters.items():
        profile = {"driver": "GTiff", "width": pixels.shape[1], "height": pixels.shape[0], "count": 1}
        profile |= {"dtype": pixels.dtype, "crs": f"EPSG:326{product.scene.tile[:2]}", "compress": "deflate"}
        transform = Affine(resolution, 0, 600_000, 0, -resolution, 5_100_000)
        with rasterio.open(folder / asset.value, "w", transform=transform, **profile) as raster:
            raster.write(pixels, 1)
    (folder / Asset.GEOBUF.value).write_bytes(_geobuf(product))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Four products of three days and three tiles by one model; one of them by a second model too."""
    root = tmp_path_factory.mktemp("store")
    strip = shapely.Polygon([(16.282936, 45.624057), (16.43746, 45.99211), (16.459, 46.04335), (16.2925, 46.04626)])
    split = shapely.MultiPolygon([shapely.box(12.5, 45.9, 12.7, 46.8), shapely.box(12.8, 45.9, 13.0, 46.8)])
    products = {
        NEWEST: _product(NEWEST, strip, 12.637376, {311, 312, 511}),
        SAME_DAY: _product(SAME_DAY, shapely.box(13.4, 48.6, 13.8, 49.4), 3.5, {211, 312}),
        MIDDLE: _product(MIDDLE, split, 0.0, {112, 211}),
        OLDEST: _product(OLDEST, shapely.box(16.2, 45.6, 17.6, 46.8), 40.25, {523}),
    }
    second = replace(
        products[NEWEST],
        model=SECOND,
        class_codes=frozenset({231}),
        folder=f"products/{SECOND}/{products[NEWEST].scene}/fedcba9876543210",
    )
    store = ProductStore(root)
    with store.open_catalogue() as catalogue:
        for seed, product in enumerate([*products.values(), second]):
            _write_files(root / product.folder, product, seed)
            catalogue.record(product)
    return Facts(root, products, second)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "authority.pem"

    def vouch(self, name: str) -> tuple[Path, Path]:
        """Issue a certificate for localhost; return its file and its key file."""
        certificate, key, request = (self.folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                 request, "-subj", f"/CN={name}")  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "authority.key",
                 "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key

    @classmethod
    def make(cls, folder: Path) -> Self:
        folder.mkdir(parents=True)
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                 folder / "authority.key", "-out", folder / "authority.pem", "-days", "2", "-subj",
                 "/CN=tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        return cls(folder)


@contextmanager
def _server_process(store: Path, *options: str, log: Path | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the service as users do, with its log in a file or a pipe; yield its address and process."""
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(store), "--listen", "127.0.0.1:0", *options]
    with (
        nullcontext(subprocess.PIPE) if log is None else log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                pytest.fail(process.communicate()[1] if log is None else log.read_text())
            yield f"127.0.0.1:{line.strip().rpartition(':')[2]}", process
        finally:
            if process.poll() is None:
                process.terminate()
            # Read to the end, so that neither a full pipe nor an open one outlives the test.
            process.communicate(timeout=30)


@pytest.fixture(scope="session")
def start_server() -> StartServer:
    """Return a context that starts a server on a store, for tests that disturb it: address and process."""
    return _server_process


@pytest.fixture(scope="session")
def server(facts: Facts) -> Iterator[str]:
    """The address of a server over the small store, for every test that does not disturb it."""
    with _server_process(facts.root) as (address, _):
        yield address


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The code that google's and grpclib's generators make from the independent contract in `contract/`."""
    folder = tmp_path_factory.mktemp("stubs")
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(CONTRACT)) for path in CONTRACT.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{CONTRACT}", f"-I{well_known}", f"--python_out={folder}"]
    command += [f"--grpc_python_out={folder}", f"--grpclib_python_out={folder}", *sources]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(
            geobuf=load("geobufproto.geobuf_pb2"),
            v1=load("snapearth.api.v1.database_pb2"),
            v2=load("snapearth.api.v2.database_pb2"),
            older=load("snapearth.api.v1.database.older_pb2"),
            v1_google=load("snapearth.api.v1.database_pb2_grpc"),
            v2_google=load("snapearth.api.v2.database_pb2_grpc"),
            older_google=load("snapearth.api.v1.database.older_pb2_grpc"),
            v1_grpclib=load("snapearth.api.v1.database_grpc"),
            v2_grpclib=load("snapearth.api.v2.database_grpc"),
            older_grpclib=load("snapearth.api.v1.database.older_grpc"),
        )
    finally:
        sys.path.remove(str(folder))


MakeAuthority = Callable[[Path], Authority]


@pytest.fixture(scope="session")
def make_authority() -> MakeAuthority:
    """Return a function that creates a certificate authority in a new folder."""
    return Authority.make
