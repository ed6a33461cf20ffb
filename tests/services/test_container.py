"""What the container image is to its programs, without a container engine: user 10001, a root that cannot be written.

Writable are the home and /tmp alone, and in the home the folder of Dagster's configuration is not. The commands and the
health checks are those of `deploy/compose.yaml`, on other ports.
"""

import contextlib
import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from earthsignature_assets.keys import SceneKey
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
OF_THE_IMAGE = dict(
    re.findall(r"^(?:ENV|   ) (\w+)=(\S+)", (ROOT / "deploy" / "Containerfile").read_text(), re.MULTILINE)
)
HOME, USER = OF_THE_IMAGE["EARTHSIGNATURE_HOME"], "10001"
SCENE = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")
# The new /tmp would hide these where the checkout or the environment lies in /tmp.
FOLDERS_IN_TMP = [str(folder) for folder in (ROOT, Path(sys.prefix)) if folder.is_relative_to("/tmp")]
# A mount namespace of its own, so that nothing of it is seen outside.
CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /var/lib
mkdir $HOME_IN_IMAGE /var/lib/programs
mount --bind "$HOME_OUTSIDE" $HOME_IN_IMAGE
number=0
IFS=:
for folder in $FOLDERS_IN_TMP; do
    number=$((number + 1))
    mkdir /var/lib/programs/$number
    mount --bind "$folder" /var/lib/programs/$number
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
number=0
for folder in $FOLDERS_IN_TMP; do
    number=$((number + 1))
    mkdir -p "$folder"
    mount --bind /var/lib/programs/$number "$folder"
    mount -o remount,bind,ro "$folder"
done
unset IFS
mount -o remount,bind,ro /
exec setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all -- "$@"
"""


class Container:
    """Runs programs of the environment under the image's restrictions."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._environment = environment | {
            "HOME_OUTSIDE": str(home),
            "HOME_IN_IMAGE": HOME,
            "FOLDERS_IN_TMP": ":".join(FOLDERS_IN_TMP),
        }

    def command(self, *command: str) -> list[str]:
        program = Path(sys.executable) if command[0] == "python" else Path(sys.executable).parent / command[0]
        script = CONTAINER.format(user=USER)
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(program), *command[1:]]

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*command), env=self._environment, cwd="/", capture_output=True, text=True, timeout=240
        )

    @contextlib.contextmanager
    def running(self, log: Path, command: list[str], health: list[str]) -> Iterator[None]:
        """A program while its health check holds; before it runs the check does not."""
        assert self.run(*health).returncode != 0
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*command), env=self._environment, cwd="/", stdout=output, stderr=output
            )
        try:
            until = time.monotonic() + 120
            while (told := self.run(*health)).returncode:
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, told.stderr + log.read_text()[-3000:]
            yield
        finally:
            # As an engine stops it: it may take its time, and is killed in the end.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


@pytest.fixture
def home() -> Iterator[Path]:
    if os.getuid() != 0 or subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("only root can make a mount namespace")
    # Not in a folder of pytest's, which no other user may enter.
    home = Path(tempfile.mkdtemp(prefix="earthsignature-container-"))
    os.chown(home, int(USER), int(USER))
    configuration = home / "dagster"  # root's, as where an engine mounts files into it
    configuration.mkdir()
    shutil.copy(ROOT / "deploy" / "dagster-celery.yaml", configuration / "dagster.yaml")
    yield home
    shutil.rmtree(home)


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    server = postgres_url.removesuffix("/postgres")
    with psycopg.connect(f"{server}/postgres".replace("+psycopg2", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE container")
        yield f"{server}/container"
        connection.execute("DROP DATABASE container WITH (FORCE)")


def test_the_chain_and_the_servers_need_nothing_but_the_home_and_tmp(
    home: Path, database: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ports = {port: str(free_port()) for port in ("4266", "3000", "50051")}
    environment = {
        **OF_THE_IMAGE,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DAGSTER_POSTGRES_URL": database,
        "DAGSTER_CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "DAGSTER_CELERY_RESULTS_URL": "redis://127.0.0.1:1/1",
        "EARTHSIGNATURE_AREA": SCENE.tile,
    }

    def of_compose(name: str, command: list[str]) -> list[str]:
        words = SERVICES[name]["command"] if command == ["command"] else command
        for port, other in ports.items():
            words = [word.replace(port, other).replace("0.0.0.0", "127.0.0.1") for word in words]
        return words

    with serve_files(tmp_path / "simulated") as base_url:
        item = simulate_scene(SceneRecipe(SCENE, size=128), tmp_path / "simulated", base_url).item_path
        with serve_stac([item]) as stac_api:
            container = Container(home, environment | {"EARTHSIGNATURE_STAC_API": stac_api})
            done = container.run("earthsignature", "run", "--tile", SCENE.tile, "--date", str(SCENE.day))
    assert done.returncode == 0, done.stdout + done.stderr
    with ProductStore(home / "store").open_catalogue(read_only=True) as catalogue:
        assert [product.scene for product in catalogue.all_products()] == [SCENE]
    # In /tmp they would go with the container, and the next run would compile again.
    assert list((home / Path(OF_THE_IMAGE["NUMBA_CACHE_DIR"]).relative_to(HOME)).rglob("*.nbc"))
    refused = container.run("python", "-c", f"open('{HOME}/dagster/x', 'w')")
    assert "PermissionError" in refused.stderr
    assert "Read-only file system" in container.run("python", "-c", "open('/var/x', 'w')").stderr
    assert sorted(path.name for path in (home / "dagster").iterdir()) == ["dagster.yaml"]

    workspace = home / "workspace.yaml"
    workspace.write_text(
        (ROOT / "deploy" / "workspace.yaml")
        .read_text()
        .replace("code-location", "127.0.0.1")
        .replace("4266", ports["4266"])
    )
    with contextlib.ExitStack() as servers:
        for name in ("code-location", "webserver", "service"):
            command = of_compose(name, ["command"])
            command = [word.replace(f"{HOME}/dagster/workspace.yaml", f"{HOME}/workspace.yaml") for word in command]
            health = of_compose(name, SERVICES[name]["healthcheck"]["test"][1:])
            servers.enter_context(container.running(tmp_path / f"{name}.log", command, health))
