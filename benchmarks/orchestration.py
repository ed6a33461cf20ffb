"""Orchestration: response times with a year of Europe in the instance, and the overhead of a run."""

import contextlib
import datetime as dt
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.platform_year import (
    DAYS,
    MODELS,
    SCENES_A_DAY,
    WINDOW_DAYS,
    prepare_year,
    scenes_of_the_year,
    year_in_postgres,
    year_in_sqlite,
)
from benchmarks.postgres_server import without_postgres
from benchmarks.row import BenchmarkError, Options, Row, Target

Year = Callable[[Options], AbstractContextManager[Path]]

_BACKFILL = 1_000
_ROOT = Path(__file__).resolve().parents[1]
_START_TIMEOUT_S = 120.0
_POSTGRES = "the same in PostgreSQL"


@contextmanager
def _sensor_tick(options: Options, year: Year = year_in_sqlite) -> Iterator[Callable[[], float]]:
    """Run one tick of `accepted_scenes`, which requests the newest day."""
    import dagster as dg

    from earthsignature_assets.automation.sensors import accepted_scenes
    from earthsignature_assets.cli.chain import open_instance
    from earthsignature_assets.resources.discovery_window import DiscoveryWindow

    with year(options) as home, open_instance(home) as instance:

        def tick() -> float:
            context = dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow()})
            began = time.perf_counter()
            requests = [answer for answer in accepted_scenes(context) if isinstance(answer, dg.RunRequest)]  # type: ignore[union-attr]
            taken = time.perf_counter() - began
            if len(requests) < SCENES_A_DAY:
                raise BenchmarkError(f"the tick requested {len(requests)} runs instead of the newest day")
            return taken

        yield tick


@contextmanager
def _web_server(home: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Start the web server on the year, and yield a function that sends it GraphQL queries."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(_ROOT / "workspace.yaml")]
    with (home / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]], stdout=log, stderr=log
        )
    try:

        def ask(query: str, **variables: Any) -> dict[str, Any]:
            body = json.dumps({"query": query, "variables": variables}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                content = json.load(answer)
            if "errors" in content:
                raise BenchmarkError(str(content["errors"])[:500])
            data: dict[str, Any] = content["data"]
            return data

        until = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, BenchmarkError):
                if ask("{ assetNodes { id } }")["assetNodes"]:
                    break
            if time.monotonic() > until or process.poll() is not None:
                raise BenchmarkError(f"the web server does not start: {(home / 'web.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield ask
    finally:
        process.terminate()
        process.wait()


_PAGE = """query Page($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  id groupName description opNames
  partitionStats { numMaterialized numPartitions numFailed numMaterializing }
  partitionKeysByDimension { name type partitionKeys }
  assetPartitionStatuses { ... on MultiPartitionStatuses {
    primaryDimensionName
    ranges { primaryDimStartKey primaryDimEndKey secondaryDim { ... on DefaultPartitionStatuses {
      materializedPartitions materializingPartitions failedPartitions
    } } }
  } }
  assetMaterializations(limit: 1) { partition timestamp runId }
} } }"""


_LAUNCH = """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }"""


@contextmanager
def _asset_page(options: Options, year: Year = year_in_sqlite) -> Iterator[Callable[[], float]]:
    """Run the query of the page of `land_cover_product`: partitions by dimension, their status, the latest event."""
    with year(options) as home, _web_server(home) as ask:

        def page() -> float:
            began = time.perf_counter()
            answer = ask(_PAGE, key={"path": ["land_cover_product"]})
            taken = time.perf_counter() - began
            stats = answer["assetNodeOrError"]["partitionStats"]
            partitions = SCENES_A_DAY * WINDOW_DAYS * len(MODELS)
            made = partitions - SCENES_A_DAY * len(MODELS)
            if (stats["numPartitions"], stats["numMaterialized"]) != (partitions, made):
                raise BenchmarkError(f"the page shows {stats}")
            return taken

        yield page


@contextmanager
def _backfill_launch(options: Options, year: Year = year_in_sqlite) -> Iterator[Callable[[], float]]:
    """Run the mutation of the backfill dialog until its answer; the backfill is then cancelled."""
    scenes = [str(scene) for scene in scenes_of_the_year()[-_BACKFILL:]]
    assets = ["segmentation", "land_cover_raster", "land_cover_polygons", "land_cover_product"]
    with year(options) as home, _web_server(home) as ask:

        def launch() -> float:
            parameters = {
                "assetSelection": [{"path": [asset]} for asset in assets],
                "partitionNames": [f"{MODELS[-1]}|{scene}" for scene in scenes],
            }
            began = time.perf_counter()
            answer = ask(_LAUNCH, params=parameters)["launchPartitionBackfill"]
            taken = time.perf_counter() - began
            if answer["__typename"] != "LaunchBackfillSuccess":
                raise BenchmarkError(str(answer))
            ask(
                "mutation Cancel($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }",
                id=answer["backfillId"],
            )
            return taken

        yield launch


def _chain_home(options: Options, scenes: int) -> Path:
    return (options.folder / f"platform-chain-{scenes}").resolve()


@contextmanager
def _run_cost(options: Options, scenes: int = 1) -> Iterator[Callable[[], float]]:
    """Measure CPU-seconds a scene of a run's process, from start to end, over scenes of negligible size.

    They include all overhead of a run: the interpreter, imports, the instance, four steps with events and checks.
    """
    from earthsignature_assets.cli.chain import Chain, open_instance
    from earthsignature_assets.keys import ModelVersion, SceneKey
    from earthsignature_assets.partitions import scene_model_key
    from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
    from earthsignature_assets.system.settings import Settings

    home = _chain_home(options, scenes)
    shutil.rmtree(home, ignore_errors=True)
    day, model = dt.date(2026, 5, 1), ModelVersion("corine-unet", 1)
    keys = [SceneKey(day, 22, f"32T{column}{row}") for column in "QP" for row in "MNPQR"][:scenes]
    with serve_files(home / "simulated") as base_url:
        items = [simulate_scene(SceneRecipe(key, size=64), home / "simulated", base_url).item_path for key in keys]
        with serve_stac(items) as stac_api, open_instance(home) as instance:
            settings = Settings(home=home, stac_api=stac_api, area=",".join(key.tile for key in keys), threads=1)
            chain = Chain(settings, instance)
            chain.discover(day)
            for key in keys:
                chain.fetch(key)
            instance.add_dynamic_partitions("model_version", [str(model)])
            ordered = [key for key in instance.get_dynamic_partitions("scene") if SceneKey.parse(key) in keys]
    ends = [str(scene_model_key(SceneKey.parse(key), model)) for key in (ordered[0], ordered[-1])]
    environment = os.environ | settings.to_environment() | {"DAGSTER_HOME": str(home / "dagster")}
    command = [sys.executable, "-m", "benchmarks.land_cover_run", *ends]

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(done.stderr[-2000:])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return spent / scenes

    yield run


def _at_most(limit: float, unit: str, where: str = "") -> Target:
    """Return a target that the own value and every peer must meet."""
    return Target(f"≤ {limit:g} {unit}{where}", lambda value, peers: max(value, *peers.values(), 0) <= limit)


_BEHIND = f"a year behind it ({SCENES_A_DAY * DAYS} scenes, {len(MODELS)} model versions)"

ROWS = (
    Row(
        name="sensor_tick",
        title=f"a tick of the sensor `accepted_scenes`, {_BEHIND}, in SQLite",
        unit="s",
        own=_sensor_tick,
        peers={_POSTGRES: partial(_sensor_tick, year=year_in_postgres)},
        target=_at_most(2, "s", " in both"),
        prepare=prepare_year,
        repetitions=3,
        needs={_POSTGRES: without_postgres},
    ),
    Row(
        name="asset_page",
        title=f"the asset page's query with the status of all partitions, {_BEHIND}, in SQLite",
        unit="s",
        own=_asset_page,
        peers={_POSTGRES: partial(_asset_page, year=year_in_postgres)},
        target=_at_most(1, "s", " in both"),
        prepare=prepare_year,
        repetitions=5,
        needs={_POSTGRES: without_postgres},
    ),
    Row(
        name="backfill_launch",
        title=f"the answer to launching a backfill of {_BACKFILL} scenes over four assets, {_BEHIND}, in SQLite",
        unit="s",
        own=_backfill_launch,
        peers={_POSTGRES: partial(_backfill_launch, year=year_in_postgres)},
        target=_at_most(10, "s", " in both"),
        prepare=prepare_year,
        repetitions=3,
        needs={_POSTGRES: without_postgres},
    ),
    Row(
        name="run_cost",
        title="the overhead of a run: all processor time of a run's process over scenes of 64 × 64 pixels",
        unit="CPU-s a scene and model",
        own=_run_cost,
        peers={"ten scenes a run (backfill)": partial(_run_cost, scenes=10)},
        target=_at_most(10, "CPU-s"),
        repetitions=2,
        warm_up=False,
    ),
)
