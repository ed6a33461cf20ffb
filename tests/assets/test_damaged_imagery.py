"""What a damaged scene does to its partitions: the run fails by name, nothing is made of it, nothing runs after it."""

import copy
import datetime as dt
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import rasterio

from earthsignature_assets.assets import step_failures
from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.definitions import definitions
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.partitions import scene_model_key
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

SCENE = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")
MODEL = ModelVersion("corine-unet", 1)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is tried again at once, and within a step nothing is."""
    monkeypatch.setattr(step_failures, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(remote_policy, "POLICY", replace(remote_policy.POLICY, tries=1, first_pause_s=0.0))


@dataclass(frozen=True)
class Home:
    """A home whose one day has been discovered and judged, and its scene's files behind a server."""

    settings: Settings
    scene: SimulatedScene
    files: Path
    root: str


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = tmp_path_factory.mktemp("damaged")
    files = home / "simulated"
    with serve_files(files) as root:
        scene = simulate_scene(SceneRecipe(SCENE, size=128), files, root)
        with serve_stac([scene.item_path]) as api, open_instance(home) as instance:
            settings = Settings(home=home, stac_api=api, area="32TQM")
            chain = Chain(settings, instance)
            chain.discover(SCENE.day)
            assert chain.scenes(SCENE.day) == [SCENE]
        yield Home(settings, scene, files, root)


@pytest.fixture
def home(judged: Home, tmp_path: Path) -> Home:
    """The judged home as it was, for one test to spoil."""
    shutil.copytree(judged.settings.home, tmp_path / "home", ignore=shutil.ignore_patterns("simulated", "dagster"))
    return replace(judged, settings=replace(judged.settings, home=tmp_path / "home"))


def tell_anew(home: Home, change: Callable[[dict[str, Any]], None]) -> None:
    """Let the provider tell the scene's item anew, with a change."""
    item = copy.deepcopy(home.scene.item)
    item["properties"]["updated"] = "2026-06-01T00:00:00Z"
    change(item)
    assert Workspace.of(home.settings).days.add_items(SCENE.day, [item]).updated == 1


def move(asset: str, href: str) -> Callable[[dict[str, Any]], None]:
    def change(item: dict[str, Any]) -> None:
        item["assets"][asset]["href"] = href

    return change


def forget_the_offset(item: dict[str, Any]) -> None:
    for asset in item["assets"].values():
        for name in ("raster:bands", "raster:scale", "raster:offset"):
            asset.pop(name, None)


def spoilt(source: Path, how: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as dataset:
        values, profile = dataset.read(1), dataset.profile | {"driver": "GTiff"}
    match how:
        case "missing":
            return
        case "truncated":
            target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
            return
        case "all zero":
            values = np.zeros_like(values)
        case "wrongly sized":
            values, profile = values[:64, :64], profile | {"width": 64, "height": 64}
        case "wrong CRS":
            profile["crs"] = "EPSG:32633"
        case "cloudy":
            values = np.full_like(values, 9)
    with rasterio.open(target, "w", **profile) as dataset:
        dataset.write(values, 1)


@dataclass(frozen=True)
class Outcome:
    """How a run of one partition ended.

    Attributes:
        started: names of the steps that began.
        error: name of the error that failed the run; None where it succeeded.
        message: the error's own words.
        tries: how often its last step was begun.
    """

    started: set[str]
    tries: int
    error: str | None = None
    message: str = ""


def run(
    home: Home, instance: dg.DagsterInstance, job: str, partition: str, only: list[dg.AssetKey] | None = None
) -> Outcome:
    result = (
        definitions(home.settings)
        .resolve_job_def(job)
        .execute_in_process(instance=instance, partition_key=partition, raise_on_error=False, asset_selection=only)
    )
    started = {str(event.step_key) for event in result.all_events if event.is_step_start}
    tries = 1 + sum(event.is_step_up_for_retry for event in result.all_events)
    if result.success:
        return Outcome(started, tries)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    failed = failure.step_failure_data.user_failure_data
    assert failed is not None, failure.step_failure_data.error
    assert failed.metadata["tries"].value == tries
    return Outcome(started, tries, str(failed.metadata["error"].value), str(failed.description))


def assert_refused(home: Home, error: str, *words: str) -> None:
    """Run what follows on the scene, and expect the error at its first step, once, and nothing behind it."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("scene", [str(SCENE)])
        instance.add_dynamic_partitions("model_version", [str(MODEL)])
        for job, partition, step in (
            ("scene_patches", str(SCENE), "patches"),
            ("land_cover", scene_model_key(SCENE, MODEL), "segmentation"),
        ):
            outcome = run(home, instance, job, partition)
            assert (outcome.error, outcome.tries, outcome.started) == (error, 1, {step})
            for word in (home.scene.item["id"], *words):
                assert word in outcome.message
        for asset in ("patches", "segmentation", "land_cover_raster", "land_cover_product"):
            assert not instance.get_materialized_partitions(dg.AssetKey(asset))
    workspace = Workspace.of(home.settings)
    assert not list(workspace.patches(SCENE).parent.glob("[!.]*"))
    assert not workspace.store.has_catalogue()


@pytest.mark.parametrize("how", ["missing", "truncated", "all zero", "wrongly sized", "wrong CRS"])
def test_a_damaged_band_fails_its_partition_and_nothing_follows(home: Home, how: str) -> None:
    name = f"{how.replace(' ', '_')}/B03.tif"
    spoilt(home.scene.folder / "B03.tif", how, home.files / name)
    tell_anew(home, move("green", f"{home.root}/{name}"))
    assert_refused(home, "BandError", "band B03", name, "discovered_items")


def test_a_classification_of_zeros_fails_its_partition_and_nothing_follows(home: Home) -> None:
    spoilt(home.scene.folder / "SCL.tif", "all zero", home.files / "zeros" / "SCL.tif")
    tell_anew(home, move("scl", f"{home.root}/zeros/SCL.tif"))
    assert_refused(home, "BandError", "band SCL", "no data everywhere", "discovered_items")


def test_a_scene_that_a_reprocessing_finds_cloudy_is_withdrawn(home: Home) -> None:
    def reprocessed(item: dict[str, Any]) -> None:
        properties = item["properties"]
        properties["s2:product_uri"] = properties["s2:product_uri"][:-20] + "20260601T000000.SAFE"
        item["assets"]["scl"]["href"] = f"{home.root}/cloudy/SCL.tif"

    def withdrawn() -> object:
        assert run(home, instance, "discovery", str(SCENE.day), [dg.AssetKey("clear_scenes")]).error is None
        (record,) = instance.fetch_materializations(dg.AssetKey("clear_scenes"), limit=1).records
        assert record.asset_materialization is not None
        withdrawn = record.asset_materialization.metadata.get("withdrawn")
        return withdrawn.value if withdrawn else None

    with dg.DagsterInstance.ephemeral() as instance:
        assert withdrawn() is None
        assert instance.get_dynamic_partitions("scene") == [str(SCENE)]
        spoilt(home.scene.folder / "SCL.tif", "cloudy", home.files / "cloudy" / "SCL.tif")
        tell_anew(home, reprocessed)
        assert withdrawn() == [str(SCENE)]


def test_an_item_without_the_offsets_facts_fails_its_partition_and_nothing_follows(home: Home) -> None:
    tell_anew(home, forget_the_offset)
    assert_refused(home, "ItemError", "band B02", "raster:offset")


_BUSY_SERVER = """
import socket, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

folder, descriptor, left = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

class Busy(StaticFiles):
    async def get_response(self, path, scope):
        global left
        left -= 1
        return Response(status_code=503) if left >= 0 else await super().get_response(path, scope)

application = Starlette(routes=[Mount("/", Busy(directory=folder))])
config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
"""


@contextmanager
def busy_server(folder: Path, answers: int) -> Iterator[str]:
    """A file server that answers 503 so many times before it serves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-c", _BUSY_SERVER, str(folder), str(descriptor), str(answers)]
        with subprocess.Popen(command, pass_fds=(descriptor,)) as server:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.kill()


def fetch_from_busy_server(home: Home, answers: int) -> tuple[Outcome, set[str]]:
    with busy_server(home.scene.folder, answers) as root, dg.DagsterInstance.ephemeral() as instance:
        tell_anew(home, move("green", f"{root}/B03.tif"))
        instance.add_dynamic_partitions("scene", [str(SCENE)])
        outcome = run(home, instance, "scene_patches", str(SCENE))
        return outcome, instance.get_materialized_partitions(dg.AssetKey("patches"))


def test_a_temporarily_busy_server_costs_retries_and_no_patches(home: Home) -> None:
    outcome, made = fetch_from_busy_server(home, answers=2)
    assert (outcome.error, outcome.tries > 1, made) == (None, True, {str(SCENE)})


def test_a_server_that_stays_busy_fails_the_partition_in_the_end(home: Home) -> None:
    outcome, made = fetch_from_busy_server(home, answers=1_000_000)
    assert (outcome.error, outcome.tries, made) == ("ProviderUnavailableError", 4, set())
    assert "band B03" in outcome.message
    assert "503" in outcome.message


@pytest.fixture
def l1c(home: Home, real_data: Path, tmp_path: Path) -> Iterator[tuple[Home, str]]:
    """The home with a provider of a real L1C item, and the item's day."""
    (item,) = json.loads((real_data / "stac_other" / "e84_v1_sentinel-2-l1c_27VWK_search.json").read_text())["features"]
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    with serve_stac([path]) as api:
        settings = replace(home.settings, provider="earth-search-l1c", stac_api=api, area="27VWK")
        yield replace(home, settings=settings), item["properties"]["datetime"][:10]


def test_l1c_is_refused_before_the_search_if_no_model_reads_it(l1c: tuple[Home, str]) -> None:
    home, day = l1c
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = run(home, instance, "discovery", day)
    assert (outcome.error, outcome.tries, outcome.started) == ("ModelError", 1, {"discovered_items"})
    for words in ("earth-search-l1c delivers L1C", "the models read L2A", "register a model"):
        assert words in outcome.message
    assert Workspace.of(home.settings).days.items(dt.date.fromisoformat(day)) == []


def test_l1c_is_discovered_if_a_model_reads_it(l1c: tuple[Home, str], tmp_path: Path) -> None:
    home, day = l1c
    models = tmp_path / "models"
    shutil.copytree(shipped_repository().root, models)
    (description,) = models.glob("*/1/model.json")
    description.write_text(json.dumps(json.loads(description.read_text()) | {"level": "L1C"}))
    home = replace(home, settings=replace(home.settings, models=str(models)))
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = run(home, instance, "discovery", day, [dg.AssetKey("discovered_items")])
    assert (outcome.error, outcome.message) == (None, "")
    assert len(Workspace.of(home.settings).days.items(dt.date.fromisoformat(day))) == 1


def test_an_l1c_item_among_l2a_is_rejected_with_the_reason(home: Home) -> None:
    def become_l1c(item: dict[str, Any]) -> None:
        item["properties"]["s2:product_type"] = "S2MSI1C"

    tell_anew(home, become_l1c)
    assert_refused(home, "ItemError", "is S2MSI1C", "earth-search delivers L2A", "choose a provider of the other level")
