"""Past one machine: the same definitions on two Celery workers in processes of their own, by way of a real Redis."""

import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from earthsignature_assets.assets.patches import _locked
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.simulator import SceneRecipe

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[3]
DAY = dt.date(2026, 5, 1)
SCENES = [SceneKey(DAY, 22, tile) for tile in ("32TQM", "33TUG", "31TGJ", "32TPM")]
HELD = SCENES[0]
MODEL = ModelVersion("corine-unet", 2)


@pytest.fixture
def redis_url(free_port: Callable[[], int], tmp_path: Path) -> Iterator[str]:
    """A Redis of its own, which keeps nothing."""
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        pytest.fail("Redis is missing: run scripts/install_services")
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as redis:
        try:
            until = time.monotonic() + 30
            while redis.poll() is None and time.monotonic() < until:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=1):
                        break
                except OSError:
                    time.sleep(0.1)
            yield f"redis://127.0.0.1:{port}"
        finally:
            redis.terminate()


@pytest.fixture
def platform(
    deployed: Callable[..., AbstractContextManager[Any]], redis_url: str, postgres_url: str, tmp_path: Path
) -> Iterator[Any]:
    with psycopg.connect(postgres_url.replace("+psycopg2", ""), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS celery WITH (FORCE)")
        connection.execute("CREATE DATABASE celery")
    with deployed(
        tmp_path,
        [SceneRecipe(scene, size=256, cloud_cover=0.1) for scene in SCENES],
        ROOT / "deploy" / "dagster-celery.yaml",
        DAGSTER_POSTGRES_URL=f"{postgres_url.removesuffix('/postgres')}/celery",
        DAGSTER_CELERY_BROKER_URL=f"{redis_url}/0",
        DAGSTER_CELERY_RESULTS_URL=f"{redis_url}/1",
        DAGSTER_LOGS=str(tmp_path / "home" / "dagster-logs"),
    ) as platform:
        yield platform


def start_worker(platform: Any, name: str) -> Path:
    app = "earthsignature_assets.automation.celery_worker"
    options = ["--queues", "dagster", "--concurrency", "2", "--hostname", f"{name}@127.0.0.1", "--loglevel", "INFO"]
    log: Path = platform.start(name, "celery", "--app", app, "worker", *options)
    seen = log.read_text().count("ready.")
    platform.wait(lambda: log.read_text().count("ready.") > seen, 300, lambda: log.read_text()[-3000:])
    return log


def worker_of(platform: Any, run: str) -> str:
    """The worker whose pool process is at work on a run."""

    def found() -> str | None:
        with platform.instance() as instance:
            for log in instance.all_logs(run):
                if log.dagster_event and log.dagster_event.is_engine_event:
                    pid = log.dagster_event.engine_event_data.metadata.get("pid")
                    if pid is not None:
                        group = os.getpgid(int(str(pid.value)))
                        return next(name for name in ("first", "second") if platform.process(name) == group)
        return None

    return str(platform.wait(found, 300))


def statuses(platform: Any, job: str) -> list[str]:
    return sorted(run["status"] for run in platform.runs(pipelineName=job))


def test_every_run_ends_and_no_product_is_made_twice_although_a_worker_is_killed(platform: Any) -> None:
    logs = {name: start_worker(platform, name) for name in ("first", "second")}
    platform.start_daemon()
    discovery = platform.launch("discovery", DAY.isoformat())
    platform.settle()
    assert [run["status"] for run in platform.runs(runIds=[discovery])] == ["SUCCESS"]

    home = platform.settings.home
    with _locked(home / "patches" / f"{HELD}.zarr"):  # its run is under way for as long as we want
        held, *_ = [platform.launch("scene_patches", str(scene)) for scene in SCENES]
        platform.wait(lambda: [run["status"] for run in platform.runs(runIds=[held])] == ["STARTED"], 300)
        victim = worker_of(platform, held)
        platform.wait(lambda: statuses(platform, "scene_patches").count("SUCCESS") == len(SCENES) - 1, 300)
        platform.stop(victim, signal.SIGKILL)
    # Nobody tells of its death but the monitoring; the run is then started once more, on the other worker.
    platform.wait(lambda: platform.runs(runIds=[held])[0]["status"] == "FAILURE", 300)
    with platform.instance() as instance:
        told = [log.message for log in instance.all_logs(held)]
    assert any(f"worker {victim}@127.0.0.1 is gone" in message for message in told), told
    platform.wait(lambda: statuses(platform, "scene_patches").count("SUCCESS") == len(SCENES), 300)

    start_worker(platform, victim)
    for scene in SCENES:
        platform.launch("land_cover", f"{MODEL}|{scene}")
    platform.settle()
    assert statuses(platform, "land_cover") == ["SUCCESS"] * len(SCENES)
    assert statuses(platform, "scene_patches") == ["FAILURE", *["SUCCESS"] * len(SCENES)]
    counted = platform.materialisations()
    assert all(counted["patches", str(scene)] == 1 for scene in SCENES)
    assert all(counted["land_cover_product", f"{MODEL}|{scene}"] == 1 for scene in SCENES)
    with ProductStore(home / "store").open_catalogue(read_only=True) as catalogue:
        published = [product.scene for product in catalogue.search(ProductQuery())]
    assert sorted(published) == sorted(SCENES)
    # No file is written there, so that it may be read only; Dagster tries to make two folders, and does without.
    assert [path.name for path in (home / "dagster").rglob("*") if path.is_file()] == ["dagster.yaml"]
    assert all("execute_job" in log.read_text() for log in logs.values())  # both had a part in it
