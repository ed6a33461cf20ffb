import dataclasses
import fcntl
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.resources import provider_slots
from earthsignature_assets.resources.provider_slots import PROVIDER_POOL, provider_slot, slots

MODEL = ModelVersion("corine-unet", 1)
HOLDER = """
import fcntl, sys, time
slot = open(sys.argv[1], "w")
fcntl.flock(slot, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_slots, "_POLL_S", 0.02)


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def test_there_are_as_many_slots_as_the_pool_has(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        assert slots(instance) == 4  # dagster.yaml's, for every pool
        instance.event_log_storage.set_concurrency_slots(PROVIDER_POOL, 1)
        instance.event_log_storage.set_concurrency_slots("inference", 3)
        assert slots(instance) == 1
    with dg.DagsterInstance.ephemeral() as instance:
        assert slots(instance) is None


def test_no_more_steps_read_than_there_are_slots(tmp_path: Path) -> None:
    inside, most, guard = 0, 0, threading.Lock()
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.set_concurrency_slots(PROVIDER_POOL, 2)

        def read() -> None:
            nonlocal inside, most
            with provider_slot(dg.build_asset_context(instance=instance), tmp_path):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.1)
                with guard:
                    inside -= 1

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (inside, most) == (0, 2)


def test_the_slot_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.set_concurrency_slots(PROVIDER_POOL, 1)
        command = [sys.executable, "-c", HOLDER, str(tmp_path / ".provider-0")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            threading.Timer(0.3, holder.send_signal, [signal.SIGKILL]).start()
            with provider_slot(dg.build_asset_context(instance=instance), tmp_path):
                assert holder.wait() == -signal.SIGKILL


def test_waiting_steps_notice_a_raised_limit(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.set_concurrency_slots(PROVIDER_POOL, 1)
        context = dg.build_asset_context(instance=instance)
        raised = threading.Timer(0.3, instance.event_log_storage.set_concurrency_slots, [PROVIDER_POOL, 2])
        with provider_slot(context, tmp_path):
            raised.start()
            with provider_slot(context, tmp_path):
                assert slots(instance) == 2


def test_segmentation_waits_for_a_slot_before_it_fetches_removed_patches(deployment: Any, tmp_path: Path) -> None:
    home, scene = tmp_path / "home", deployment.product.scene
    shutil.copytree(
        deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster", "patches", "store")
    )
    with open_instance(home) as instance, ThreadPoolExecutor(1) as pool:
        instance.event_log_storage.set_concurrency_slots(PROVIDER_POOL, 1)
        instance.add_dynamic_partitions("scene", [str(scene)])
        chain = Chain(dataclasses.replace(deployment.settings, home=home), instance)
        (home / "patches").mkdir()
        with (home / "patches" / ".provider-0").open("w") as slot:
            fcntl.flock(slot, fcntl.LOCK_EX)
            run = pool.submit(chain.segment, scene, MODEL)
            until(lambda: run.done() or _waits(instance))
            assert not run.done(), run.exception()
            assert list((home / "patches").glob("*.zarr")) == []
        assert run.result().scene == scene
        assert instance.get_materialized_partitions(dg.AssetKey("patches")) == {str(scene)}
        assert instance.get_materialized_partitions(dg.AssetKey("land_cover_product")) == {f"{MODEL}|{scene}"}


def _waits(instance: dg.DagsterInstance) -> bool:
    # The event file of a run that has not started may be incomplete.
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    messages = [log.message for run in runs for log in instance.all_logs(run.run_id)]
    return any("all 1 slots of the pool stac_provider are taken" in message for message in messages)
