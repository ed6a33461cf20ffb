"""Schedule → discovery → sensor → runs → products, by the real web server and daemon."""

import contextlib
import datetime as dt
import os
import shutil
import signal
import zlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from earthsignature_assets.assets.patches import _locked
from earthsignature_assets.cli.main import main
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.keys import ModelVersion, SceneKey, relative_orbit_of
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.client import EarthSignatureClient

pytestmark = pytest.mark.services

FIRST, SECOND = ModelVersion("corine-unet", 2), ModelVersion("corine-unet", 3)
INFERENCE = ["segmentation", "land_cover_raster", "land_cover_polygons", "land_cover_product"]


def published(platform: Any, model: ModelVersion | None = None) -> list[tuple[SceneKey, ModelVersion]]:
    with ProductStore(platform.settings.home / "store").open_catalogue(read_only=True) as catalogue:
        found = [(product.scene, product.model) for product in catalogue.search(ProductQuery(model=model))]
    return sorted(found)


def accepted(platform: Any) -> list[SceneKey]:
    with platform.instance() as instance:
        return sorted(SceneKey.parse(key) for key in instance.get_dynamic_partitions("scene"))


def test_the_morning_that_was_missed_is_made_up_for_and_every_accepted_scene_is_published(platform: Any) -> None:
    scenes = accepted(platform)
    assert len(scenes) == 4
    scheduled = [run for run in platform.runs() if _tagged(run, "dagster/schedule_name") == "daily_discovery"]
    assert sorted(str(_tagged(run, "dagster/partition")) for run in scheduled) == sorted(
        {str(key.day) for key in scenes}
    )
    assert published(platform, FIRST) == [(scene, FIRST) for scene in scenes]
    counted = platform.materialisations()
    for asset in INFERENCE:
        assert all(counted[asset, f"{FIRST}|{scene}"] >= 1 for scene in scenes)


def test_the_discovery_of_the_morning_is_fresh(platform: Any) -> None:
    def fresh() -> bool:
        answer = platform.ask("{ assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus } } }")
        found = {
            node["assetKey"]["path"][0]: info["freshnessStatus"]
            for node in answer["assetNodes"]
            if (info := node["freshnessStatusInfo"])
        }
        return bool(found == {"discovered_items": "HEALTHY", "clear_scenes": "HEALTHY"})

    platform.wait(fresh, 120)


def test_four_images_go_in_parallel_and_never_more(platform: Any) -> None:
    scenes, patches = accepted(platform), platform.settings.home / "patches"
    # Scenes may share a lock file: one of each is held, and every run waits for one of them.
    locks = {zlib.crc32(f"{scene}.zarr".encode()) % 256: scene for scene in scenes}
    with contextlib.ExitStack() as held:
        for scene in locks.values():
            held.enter_context(_locked(patches / f"{scene}.zarr"))
        runs = [platform.launch("scene_patches", str(scene)) for scene in scenes]
        platform.wait(lambda: len(platform.runs(runIds=runs, statuses=["STARTED"])) == 4, 300)
    platform.settle()
    assert [run["status"] for run in platform.runs(runIds=runs)] == ["SUCCESS"] * 4
    assert platform.most_at_once <= 4  # of the daily run, which had more to do


def test_a_backfill_of_days_discovers_again_and_changes_nothing(platform: Any) -> None:
    before, counted = published(platform), platform.materialisations()
    days = sorted({scene.day.isoformat() for scene in accepted(platform)})
    answer = platform.backfill(["discovered_items", "clear_scenes"], days)
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    platform.settle()
    after = platform.materialisations()
    for day in days:
        for asset in ("discovered_items", "clear_scenes"):
            assert after[asset, day] == counted[asset, day] + 1
    assert published(platform) == before


def test_a_day_in_the_future_is_refused(platform: Any) -> None:
    assert platform.backfill(["discovered_items"], ["2099-01-01"])["__typename"] != "LaunchBackfillSuccess"
    run = platform.launch("discovery", "2099-01-01")
    platform.settle()
    assert "2099-01-01 is not over yet (UTC)" in failure(platform, run)
    # What no retry can mend is not tried again, neither the step nor the run.
    assert [one for one in platform.runs() if _tagged(one, "dagster/parent_run_id") == run] == []
    with platform.instance() as instance:
        assert not [log for log in instance.all_logs(run) if "trying again" in log.message]


def test_a_scene_key_without_an_item_fails_with_the_remedy(platform: Any) -> None:
    key = "2026-04-01_R022_T32TQM"
    with platform.instance() as instance:
        instance.add_dynamic_partitions("scene", [key])
    run = platform.launch("scene_patches", key)
    platform.settle()
    assert "materialise `discovered_items` for 2026-04-01" in failure(platform, run)
    with platform.instance() as instance:
        instance.delete_dynamic_partition("scene", key)


def test_a_new_model_version_is_backfilled_without_touching_what_is_stored(platform: Any, tmp_path: Path) -> None:
    scenes = accepted(platform)
    home = platform.settings.home
    folder = tmp_path / "corine-unet" / str(SECOND.version)
    shutil.copytree(shipped_repository().folder(FIRST), folder)
    described = folder / "model.json"
    described.write_text(described.read_text().replace(f'"version": {FIRST.version}', f'"version": {SECOND.version}'))
    registered = CliRunner().invoke(main, ["models", "--home", str(home), "register", str(folder)])
    assert registered.exit_code == 0, registered.output
    assert published(platform, SECOND) == []

    with platform.instance() as instance:  # neighbours in the order of the keys share a run
        removed, *kept, left = map(SceneKey.parse, instance.get_dynamic_partitions("scene"))
    shutil.rmtree(home / "patches" / f"{removed}.zarr")
    counted = platform.materialisations()
    chosen = [f"{SECOND}|{scene}" for scene in (removed, *kept)]
    answer = platform.backfill(INFERENCE, chosen)
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    platform.wait(lambda: platform.runs(tags=[{"key": "dagster/backfill", "value": answer["backfillId"]}]), 300)
    platform.settle()
    after = platform.materialisations()
    assert after["patches", str(removed)] == counted["patches", str(removed)] + 1
    assert all(after["patches", str(scene)] == counted["patches", str(scene)] for scene in kept)
    assert all(after[asset, partition] == 1 for asset in INFERENCE for partition in chosen)
    assert len(platform.runs(tags=[{"key": "dagster/backfill", "value": answer["backfillId"]}])) == 1  # one batch
    assert published(platform, SECOND) == [(scene, SECOND) for scene in sorted((removed, *kept))]
    assert published(platform) == [(scene, FIRST) for scene in scenes]

    told = CliRunner().invoke(main, ["missing", "--home", str(home), "--model", str(SECOND)], env={"COLUMNS": "150"})
    assert "1 products are missing" in told.output
    assert str(left) in told.output

    log = tmp_path / "service.log"
    with service_process(home / "store", log) as address, EarthSignatureClient(address) as client:
        assert served(client) == {(one, str(FIRST)) for one in scenes}
        promoted = CliRunner().invoke(main, ["models", "--home", str(home), "promote", str(SECOND), "--why", "tests"])
        assert promoted.exit_code == 0, promoted.output
        assert dict(published(platform)) == dict.fromkeys((removed, *kept), SECOND) | {left: FIRST}
        assert served(client) == {(one, str(SECOND)) for one in (removed, *kept)} | {(left, str(FIRST))}
        CliRunner().invoke(main, ["models", "--home", str(home), "promote", str(FIRST), "--why", "back again"])
        assert served(client) == {(one, str(FIRST)) for one in scenes}


def test_a_killed_run_ends(platform: Any) -> None:
    run = platform.launch("scene_patches", str(accepted(platform)[3]))
    os.kill(process_of(platform, run), signal.SIGKILL)
    platform.wait(lambda: platform.runs(runIds=[run])[0]["status"] == "FAILURE", 300)
    # A run that was killed is started once more, and that goes well.
    again = platform.wait(
        lambda: [one["runId"] for one in platform.runs() if _tagged(one, "dagster/parent_run_id") == run], 300
    )
    platform.settle()
    assert [one["status"] for one in platform.runs(runIds=again)] == ["SUCCESS"]


def test_a_run_that_does_not_end_is_ended_when_its_time_is_over(platform: Any) -> None:
    scene = accepted(platform)[1]
    with _locked(platform.settings.home / "patches" / f"{scene}.zarr"):  # it would wait for ever
        run = platform.launch("scene_patches", str(scene), max_runtime="5", max_retries="0")
        platform.wait(lambda: platform.runs(runIds=[run])[0]["status"] in ("FAILURE", "CANCELED"), 300)
    with platform.instance() as instance:
        told = [log.message for log in instance.all_logs(run)]
    assert any("Exceeded maximum runtime of 5 seconds" in message for message in told), told
    platform.settle()


def test_a_run_that_goes_down_with_the_whole_machine_ends_when_the_daemon_is_back(platform: Any) -> None:
    scene = accepted(platform)[2]
    with _locked(platform.settings.home / "patches" / f"{scene}.zarr"):  # under way for as long as we want
        run = platform.launch("scene_patches", str(scene))
        platform.wait(lambda: platform.runs(runIds=[run])[0]["status"] == "STARTED", 300)
        pid = process_of(platform, run)
        for program in ("daemon", "web"):  # with their code servers
            platform.stop(program, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with platform.instance() as instance:
            stored = instance.get_run_by_id(run)
        assert stored.status is dg.DagsterRunStatus.STARTED
    platform.start_web_server()
    platform.start_daemon()
    platform.wait(lambda: platform.runs(runIds=[run])[0]["status"] == "FAILURE", 300)
    with platform.instance() as instance:
        told = [log.message for log in instance.all_logs(run)]
    assert any("is gone: it was killed, or the machine restarted" in message for message in told), told
    again = platform.wait(
        lambda: [one["runId"] for one in platform.runs() if _tagged(one, "dagster/parent_run_id") == run], 300
    )
    platform.settle()
    assert [one["status"] for one in platform.runs(runIds=again)] == ["SUCCESS"]


def test_a_second_daemon_says_so_and_what_is_published_stays_the_same(platform: Any) -> None:
    before, counted = published(platform), platform.materialisations()
    partitions = [f"{FIRST}|{scene}" for scene in accepted(platform)]
    log = platform.start_daemon("second")
    try:
        platform.wait(lambda: "daemon is still sending heartbeats" in log.read_text(), 300, log.read_text)
        for partition in partitions:
            platform.launch("land_cover", partition)
        platform.settle()
    finally:
        platform.stop("second")
    # The two may start a run twice, which is why they should not be two: it ends all the same.
    platform.settle()
    after = platform.materialisations()
    assert all(after["land_cover_product", one] > counted["land_cover_product", one] for one in partitions)
    assert published(platform) == before


def served(client: EarthSignatureClient) -> set[tuple[SceneKey, str]]:
    """The scenes that the running service answers version 1 and version 3 with, and the model version of each."""
    rasters = {(scene_of(answer.product_id), answer.model) for answer in client.segmentations_v1()}
    assert rasters == {(scene_of(product.product_id), product.model) for product in client.products()}
    return rasters


def scene_of(product_id: str) -> SceneKey:
    sensed_on = dt.datetime.strptime(product_id.split("_")[2][:8], "%Y%m%d").replace(tzinfo=dt.UTC).date()
    return SceneKey(sensed_on, relative_orbit_of(product_id), product_id.split("_")[5][1:])


def process_of(platform: Any, run: str) -> int:
    """The process of a run, once it has one."""

    def found() -> int | None:
        with platform.instance() as instance:
            for log in instance.all_logs(run):
                if log.dagster_event and log.dagster_event.is_engine_event:
                    pid = log.dagster_event.engine_event_data.metadata.get("pid")
                    if pid is not None:
                        return int(str(pid.value))
        return None

    return int(platform.wait(found, 300))


def failure(platform: Any, run: str) -> str:
    with platform.instance() as instance:
        for log in instance.all_logs(run):
            if log.dagster_event and log.dagster_event.is_step_failure:
                return str(log.dagster_event.step_failure_data.user_failure_data)
    return ""


def _tagged(run: dict[str, Any], key: str) -> str | None:
    return next((tag["value"] for tag in run["tags"] if tag["key"] == key), None)
