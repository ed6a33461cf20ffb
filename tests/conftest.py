"""What every test may use: the real data where they are, a deployment over simulated scenes, servers."""

import contextlib
import datetime as dt
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pystac
import pytest

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DAY = dt.date(2026, 5, 1)
MODEL = ModelVersion("corine-unet", 1)
CLEAR, CLOUDY = SceneKey(DAY, 22, "32TQM"), SceneKey(DAY, 22, "33TUG")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes and items; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    return REAL_DATA


def schemas_by_address() -> dict[str, str]:
    """The files of STAC's schemas by address: the core's from pystac, those of extensions where they are given.

    They are given by `EARTHSIGNATURE_STAC_SCHEMAS`: a folder of JSON schemas of any file names, known by their `$id`.
    """
    folder = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    schemas = {f"https://geojson.org/schema/{path.name}": str(path) for path in folder.glob("geojson/*.json")}
    for path in folder.glob("stac-spec/v1.1.0/*.json"):
        name = json.loads(path.read_text())["$id"].rstrip("#")
        schemas |= {name: str(path), path.name: str(path), f"{name.rpartition('/')[0]}/{path.name}": str(path)}
    if given := os.environ.get("EARTHSIGNATURE_STAC_SCHEMAS"):
        for path in Path(given).resolve(strict=True).glob("*.json"):
            schemas[json.loads(path.read_text())["$id"].rstrip("#")] = str(path)
    return schemas


@pytest.fixture(params=["core", "extensions"])
def stac_faults(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], list[str]]:
    """What stac-validator finds wrong in an item, a catalogue or a collection: by the core's schemas, and by all."""
    core = request.param == "core"
    if not core and not os.environ.get("EARTHSIGNATURE_STAC_SCHEMAS"):
        pytest.skip("EARTHSIGNATURE_STAC_SCHEMAS names no folder of the schemas of STAC extensions")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its new name
        from stac_validator.stac_validator import StacValidate
    schemas = schemas_by_address()

    def faults(content: dict[str, Any]) -> list[str]:
        # Else an absent schema would be asked of the net.
        absent = [] if core else [url for url in content.get("stac_extensions", []) if url not in schemas]
        assert absent == [], "EARTHSIGNATURE_STAC_SCHEMAS lacks schemas"
        validation = StacValidate(core=core, schema_map=schemas)
        valid = validation.validate_dict(content)
        return [] if valid else [message["error_message"] for message in validation.message]

    return faults


@dataclass(frozen=True)
class Deployment:
    """A home whose one day has been discovered and whose one clear scene has been published.

    Over a real STAC API and real HTTP on loopback, by a real Dagster instance; made once for all tests.
    """

    settings: Settings
    instance: dg.DagsterInstance
    chain: Chain
    workspace: Workspace
    scenes: dict[SceneKey, SimulatedScene]
    product: Product


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("home")
    with serve_files(home / "simulated") as base_url:
        scenes = {
            key: simulate_scene(
                SceneRecipe(key, size=320, cloud_cover=cloud, swath_edge=edge), home / "simulated", base_url
            )
            for key, cloud, edge in ((CLEAR, 0.1, 0.3), (CLOUDY, 0.9, 0.0))
        }
        with serve_stac([scene.item_path for scene in scenes.values()]) as stac_api, open_instance(home) as instance:
            settings = Settings(home=home, stac_api=stac_api, area="32TQM, 33TUG, 31TGJ")
            chain = Chain(settings, instance)
            chain.discover(DAY)
            chain.fetch(CLEAR)
            product = chain.segment(CLEAR, MODEL)
            yield Deployment(settings, instance, chain, Workspace(home=str(home)), scenes, product)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Name a free port of the loopback address, another one at each call, for a server that cannot bind port 0.

    The system hands out ports from 32,768 for port 0. Below them each process of the tests counts from its own number.
    """
    ports = count(10_000 + os.getpid() * 100 % 20_000)

    def free() -> int:
        for port in ports:
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port
        raise AssertionError("unreachable")

    return free


@pytest.fixture(scope="session")
def postgres_url(free_port: Callable[[], int]) -> Iterator[str]:
    """A PostgreSQL of its own; the URL of its empty database."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        pytest.fail("PostgreSQL is missing: run scripts/install_services")
    programs, port = installed[-1].parent, free_port()
    # PostgreSQL refuses to run as root, and its user cannot enter pytest's own folders.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="earthsignature-postgres-"))
    if as_user:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data = folder / "data"

    def control(*arguments: str) -> None:
        command = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    initdb = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "dagster", "-A", "trust", "-E", "UTF8"]
    try:
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        control("-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
        finally:
            control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_postgis_schema(postgres_url: str) -> Callable[[], str]:
    """Make an empty schema in a database with PostGIS: its URL, another one at each call."""
    server = postgres_url.replace("+psycopg2", "").removesuffix("/postgres")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'").fetchone():
            pytest.fail("PostGIS is missing: run scripts/install_services")
        connection.execute("CREATE DATABASE catalogues")
    with psycopg.connect(f"{server}/catalogues", autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
        connection.execute("CREATE EXTENSION btree_gist")
    numbers = count()

    def new() -> str:
        schema = f"catalogue_{next(numbers)}"
        with psycopg.connect(f"{server}/catalogues", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        return f"{server}/catalogues?options=-csearch_path%3D{schema}%2Cpublic"

    return new


@pytest.fixture(scope="session")
def s3_server(free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server of its own, moto's, in a process of its own: its endpoint."""
    port, log = free_port(), tmp_path_factory.mktemp("s3") / "log"
    program = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with (
        log.open("wb") as output,
        subprocess.Popen([sys.executable, "-c", program], stdout=output, stderr=output) as s3,
    ):
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            else:
                pytest.fail(f"moto's server does not start:\n{log.read_text(errors='replace')[-2000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            s3.terminate()


@pytest.fixture
def new_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Make an empty bucket, another one at each call: the URL of a store in it. The environment knows the server."""
    variables = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "earthsignature",
        "AWS_SECRET_ACCESS_KEY": "in-the-tests",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def new() -> str:
        bucket = f"earthsignature-{uuid.uuid4().hex}"
        request = urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        return f"s3://{bucket}/archive"

    return new
