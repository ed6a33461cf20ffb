"""The launcher of runs on one machine, which detects dead processes.

Dagster's launcher learns of a killed run from the code server that started it. If that server dies with the run (a
power cut, a removed container), the run would stay started for ever. This launcher answers Dagster's run monitoring.
"""

import json
import os
from pathlib import Path

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

_TIMEOUT_S = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher with a health check of the run's process.

    `dagster.yaml` names it; it has no configuration.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can check a run: always."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that started the run; if it is gone, look for the process."""
        if _known_to_its_server(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        pid = self._process_of(run)
        if pid is not None and _alive(pid):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process {pid or ''} is gone: it was killed, or the machine restarted"
        )

    def _process_of(self, run: dg.DagsterRun) -> int | None:
        events = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        for event in reversed(events):
            if event.dagster_event is None:
                continue
            pid = event.dagster_event.engine_event_data.metadata.get("pid")
            if pid is not None and str(pid.value).isdigit():
                return int(str(pid.value))
        return None


def _known_to_its_server(run: dg.DagsterRun) -> bool:
    if GRPC_INFO_TAG not in run.tags:
        return False
    where = json.loads(run.tags[GRPC_INFO_TAG])
    try:
        client = DagsterGrpcClient(port=where.get("port"), socket=where.get("socket"), host=where.get("host"))
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - a server that does not answer is gone, for whatever reason
        return False
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return status.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
