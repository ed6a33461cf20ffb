"""The platform as operators run it: Dagster's web server and daemon in processes of their own, driven by GraphQL."""

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from earthsignature_assets.cli.chain import dagster_home
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
WORKSPACE = str(ROOT / "workspace.yaml")
# The daily schedule ticks at six: before that, the last tick was yesterday's.
_TICK = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=6)).date()
DAYS = [_TICK - dt.timedelta(days=ago) for ago in (1, 2)]
SCENES = [SceneKey(day, orbit, tile) for day, orbit in zip(DAYS, (22, 50), strict=True) for tile in ("32TQM", "33TUG")]
CLOUDY = SceneKey(DAYS[0], 22, "31TGJ")
_REPOSITORY = {"repositoryLocationName": "earthsignature", "repositoryName": "__repository__"}
_UNDER_WAY = ["NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING"]


class Platform:
    """A running deployment."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.environment = os.environ | settings.to_environment() | {"DAGSTER_HOME": str(settings.home / "dagster")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = ""
        self.most_at_once = 0

    @contextlib.contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.settings.home / "dagster")) as instance:
            yield instance

    def start(self, name: str, *command: str) -> Path:
        """Start a program of the environment; returns its log."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            self._processes[name] = subprocess.Popen(
                [str(Path(sys.executable).parent / command[0]), *command[1:]],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return log

    def process(self, name: str) -> int:
        """The id of a program, which is that of its group too."""
        return self._processes[name].pid

    def start_daemon(self, name: str = "daemon") -> Path:
        return self.start(name, "dagster-daemon", "run", "-w", WORKSPACE)

    def start_web_server(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        log = self.start("web", "dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", WORKSPACE)
        self.url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return bool(
                    self.ask("{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { name } } } }")
                )
            except (urllib.error.URLError, ConnectionError):
                return False

        self.wait(answers, 300, lambda: log.read_text()[-3000:])

    def stop(self, name: str, how: int = signal.SIGTERM) -> None:
        """Stop a program and everything that it started."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        if how == signal.SIGTERM:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        for name in list(self._processes):
            self.stop(name)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Put a GraphQL query as the UI does."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            content = json.load(error)
        assert "errors" not in content, content["errors"]
        data: dict[str, Any] = content["data"]
        return data

    def wait(self, condition: Callable[[], Any], seconds: float, told: Callable[[], str] | None = None) -> Any:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := condition():
                return value
            time.sleep(0.5)
        state = told or (lambda: str([(run["jobName"], run["status"]) for run in self.runs()]))
        pytest.fail(f"not within {seconds} s; {state()}")

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        answer = self.ask(
            """query Runs($filter: RunsFilter) { runsOrError(filter: $filter) {
                 ... on Runs { results { runId jobName status tags { key value } } } } }""",
            filter=filters,
        )
        found: list[dict[str, Any]] = answer["runsOrError"]["results"]
        return found

    def settle(self, seconds: float = 480) -> None:
        """Wait until no run and no backfill is under way."""

        def settled() -> bool:
            backfills = self.ask(
                "{ partitionBackfillsOrError(status: REQUESTED) { ... on PartitionBackfills { results { id } } } }"
            )
            return not backfills["partitionBackfillsOrError"]["results"] and not self.runs(statuses=_UNDER_WAY)

        self.wait(settled, seconds)

    def start_sensor(self, name: str) -> None:
        answer = self.ask(
            """mutation Start($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
                 __typename ... on PythonError { message } } }""",
            selector=_REPOSITORY | {"sensorName": name},
        )
        assert answer["startSensor"]["__typename"] == "Sensor", answer

    def stop_sensor(self, name: str) -> None:
        found = self.ask(
            """query Sensor($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
                 ... on Sensor { sensorState { id } } } }""",
            selector=_REPOSITORY | {"sensorName": name},
        )
        answer = self.ask(
            """mutation Stop($id: String) { stopSensor(id: $id) { __typename ... on PythonError { message } } }""",
            id=found["sensorOrError"]["sensorState"]["id"],
        )
        assert answer["stopSensor"]["__typename"] == "StopSensorMutationResult", answer

    def start_schedule(self, name: str) -> None:
        answer = self.ask(
            """mutation Start($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
                 __typename ... on PythonError { message } } }""",
            selector=_REPOSITORY | {"scheduleName": name},
        )
        assert answer["startSchedule"]["__typename"] == "ScheduleStateResult", answer

    def backfill(self, assets: list[str], partitions: list[str]) -> dict[str, Any]:
        """Start a backfill as the dialog does; returns what GraphQL answers."""
        answer = self.ask(
            """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
                 ... on PartitionKeysNotFoundError { message } } }""",
            params={"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": partitions},
        )
        result: dict[str, Any] = answer["launchPartitionBackfill"]
        return result

    def launch(self, job: str, partition: str, **tags: str) -> str:
        """Start one run of a job, as the launchpad does; returns its id. Tags lack their `dagster/`."""
        answer = self.ask(
            """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
                 __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={
                "selector": _REPOSITORY | {"jobName": job},
                "runConfigData": {},
                "executionMetadata": {
                    "tags": [
                        {"key": f"dagster/{name}", "value": value}
                        for name, value in {"partition": partition, **tags}.items()
                    ]
                },
            },
        )
        assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer
        return str(answer["launchRun"]["run"]["runId"])

    def materialisations(self) -> Counter[tuple[str, str]]:
        """How often each partition of each asset was materialised."""
        answer = self.ask("""{ assetNodes { assetKey { path } assetMaterializations(limit: 10000) { partition } } }""")
        return Counter(
            (node["assetKey"]["path"][0], event["partition"])
            for node in answer["assetNodes"]
            for event in node["assetMaterializations"]
        )

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Sample how many runs are under way at once while the block runs."""
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.5):
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    self.most_at_once = max(self.most_at_once, len(self.runs(statuses=["STARTED"])))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def _deployed(
    folder: Path, recipes: list[SceneRecipe], configuration: Path = ROOT / "dagster.yaml", **environment: str
) -> Iterator[Platform]:
    """A deployment over simulated scenes, with its web server; run monitoring looks every two seconds."""
    home = folder / "home"
    with pytest.MonkeyPatch.context() as variables, serve_files(folder / "simulated") as base_url:
        for name, value in environment.items():
            variables.setenv(name, value)
        items = [simulate_scene(recipe, folder / "simulated", base_url).item_path for recipe in recipes]
        with serve_stac(items) as stac_api:
            tiles = ", ".join(sorted({recipe.key.tile for recipe in recipes}))
            settings = Settings(home=home, stac_api=stac_api, area=tiles, look_back_days=2, threads=1)
            content = yaml.safe_load(configuration.read_text())
            content["run_monitoring"]["poll_interval_seconds"] = 2
            (dagster_home(home) / "dagster.yaml").write_text(yaml.safe_dump(content))
            platform = Platform(settings, folder)
            try:
                platform.start_web_server()
                yield platform
            finally:
                platform.stop_all()


@pytest.fixture(scope="session")
def deployed() -> Callable[..., contextlib.AbstractContextManager[Platform]]:
    """Make a deployment of a test's own."""
    return _deployed


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A deployment that has slept through this morning's tick and wakes up: its whole daily run, once."""
    recipes = [SceneRecipe(scene, size=1024, cloud_cover=0.1) for scene in SCENES]
    recipes.append(SceneRecipe(CLOUDY, size=1024, cloud_cover=0.9))
    with _deployed(tmp_path_factory.mktemp("platform"), recipes) as platform:
        with platform.watching():
            _daily_run(platform)
        yield platform


def _daily_run(platform: Platform) -> None:
    platform.start_schedule("daily_discovery")
    with platform.instance() as instance:
        # The schedule was on since yesterday, and the daemon was not there at six.
        (state,) = [state for state in instance.all_instigator_state() if state.instigator_name == "daily_discovery"]
        since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).timestamp()
        data = state.instigator_data
        assert isinstance(data, ScheduleInstigatorData)
        data = data._replace(start_timestamp=since)
        instance.update_instigator_state(state.with_data(data))
    platform.start_daemon()
    platform.wait(lambda: len(platform.runs(pipelineName="discovery", statuses=["SUCCESS"])) == len(DAYS), 300)
    platform.start_sensor("accepted_scenes")
    platform.wait(lambda: len(platform.runs(pipelineName="scene_patches")) == len(SCENES), 300)
    platform.settle()
    platform.stop_sensor("accepted_scenes")
    platform.start_sensor("accepted_scenes")  # its next tick, without the minute that it would wait
    platform.wait(lambda: len(platform.runs(pipelineName="land_cover")) == len(SCENES), 300)
    platform.settle()
    platform.stop_sensor("accepted_scenes")
