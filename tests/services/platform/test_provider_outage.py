"""The provider is down for a day: the morning's run says so, and the next morning's catches up."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from earthsignature_assets.assets import step_failures
from earthsignature_assets.automation.jobs import discovery_job
from earthsignature_assets.automation.schedules import daily_discovery
from earthsignature_assets.automation.sensors import accepted_scenes
from earthsignature_assets.cli.chain import open_instance
from earthsignature_assets.definitions import definitions
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.resources.discovery_window import DiscoveryWindow
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

pytestmark = pytest.mark.services

DAYS = [dt.date(2026, 5, day) for day in (1, 2, 3)]
SCENES = [SceneKey(day, orbit, "32TQM") for day, orbit in zip(DAYS, (22, 36, 50), strict=True)]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(tmp_path / "home") as instance:
        yield instance


def test_the_next_tick_catches_up_what_the_outage_left(
    instance: dg.DagsterInstance, tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_failures, "_FIRST_PAUSE_S", 0.0)
    port = free_port()
    settings = Settings(
        home=tmp_path / "home", stac_api=f"http://127.0.0.1:{port}", area="32TQM", look_back_days=1, threads=1
    )
    job = definitions(settings).resolve_job_def(discovery_job.name)

    def tick(today: dt.date) -> dict[str, dg.DagsterRunStatus]:
        """What the schedule asks for on a morning, run: how each day ended."""
        context = dg.build_schedule_context(
            instance, dt.datetime(today.year, today.month, today.day, 6, tzinfo=dt.UTC), resources=resources
        )
        ended = {}
        for request in daily_discovery(context):  # type: ignore[union-attr]
            assert isinstance(request, dg.RunRequest)
            done = job.execute_in_process(
                instance=instance, partition_key=request.partition_key, raise_on_error=False, tags=request.tags
            )
            ended[str(request.partition_key)] = done.dagster_run.status
        return ended

    resources = {"discovery_window": DiscoveryWindow(look_back_days=1)}
    success, failure = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    with serve_files(tmp_path / "simulated") as base_url:
        items = [
            simulate_scene(SceneRecipe(scene, size=256, cloud_cover=0.1), tmp_path / "simulated", base_url).item_path
            for scene in SCENES
        ]
        with serve_stac(items, port):
            assert tick(DAYS[1]) == {"2026-05-01": success}
        # The server is gone: the morning's tick fails after its tries, and says why.
        assert tick(DAYS[2]) == {"2026-05-02": failure}
        (failed,) = instance.get_runs(dg.RunsFilter(statuses=[failure]))
        told = [log.message for log in instance.all_logs(failed.run_id)]
        assert (
            sum("retrying, because the error is transient" in message for message in told) == step_failures.MAX_RETRIES
        )
        assert instance.get_materialized_partitions(dg.AssetKey("clear_scenes")) == {"2026-05-01"}
        # It is back: the next tick asks for its own day and for the one that was missed, and nothing is left out.
        with serve_stac(items, port):
            assert tick(DAYS[2] + dt.timedelta(days=1)) == {"2026-05-03": success, "2026-05-02": success}
    assert set(instance.get_dynamic_partitions("scene")) == {str(scene) for scene in SCENES}
    instance.add_dynamic_partitions("model_version", ["corine-unet-v1"])
    context = dg.build_sensor_context(instance=instance, resources=resources)
    asked = [request.partition_key for request in accepted_scenes(context) if isinstance(request, dg.RunRequest)]  # type: ignore[union-attr]
    assert sorted(map(str, asked)) == sorted(map(str, SCENES))
