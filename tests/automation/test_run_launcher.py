import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from earthsignature_assets.automation.run_launcher import WatchedRunLauncher
from earthsignature_assets.cli.chain import open_instance


@dg.job
def anything() -> None: ...


def health(home: Path, pid: int | None, tags: dict[str, str] | None = None) -> tuple[WorkerStatus, str]:
    with open_instance(home) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert instance.run_launcher.supports_check_run_worker_health
        run = instance.create_run_for_job(anything, status=dg.DagsterRunStatus.STARTED, tags=tags)
        if pid is not None:
            data = EngineEventData.in_process(pid)
            instance.report_engine_event("Executing steps in process", run, data)
        result = instance.run_launcher.check_run_worker_health(run)
        return result.status, str(result.msg)


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_run_whose_process_lives_is_running(tmp_path: Path) -> None:
    assert health(tmp_path, os.getpid())[0] is WorkerStatus.RUNNING


@pytest.mark.parametrize("tags", [None, {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/nowhere"}'}])
def test_a_run_whose_process_and_server_are_gone_has_failed(tmp_path: Path, tags: dict[str, str] | None) -> None:
    pid = dead_process()
    status, message = health(tmp_path, pid, tags)
    assert status is WorkerStatus.FAILED
    assert f"its process {pid} is gone" in message


def test_a_run_that_never_got_a_process_has_failed(tmp_path: Path) -> None:
    assert health(tmp_path, None)[0] is WorkerStatus.FAILED


def test_a_zombie_process_is_gone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # the end of its output: it has ended, and nobody has asked for its code
    try:
        for _ in range(100):
            if Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        assert health(tmp_path, process.pid)[0] is WorkerStatus.FAILED
    finally:
        process.wait()
        process.stdout.close()
