"""The launcher of runs on Celery workers, which detects dead workers.

Dagster's launcher trusts the last state in the result backend. A worker that dies with its machine leaves the state
"started" there, and the run would stay started until it times out. This launcher asks the worker.
"""

import dagster as dg
from celery import states
from celery.app.control import Inspect
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_TIMEOUT_S = 10.0


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's Celery launcher with a health check that asks the worker.

    `deploy/dagster-celery.yaml` names it; its configuration is that of `dagster_celery.CeleryRunLauncher`.
    """

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the worker that took the task of the run; ask all workers if it is not known."""
        task_id = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        task = self.celery.AsyncResult(task_id)
        state, taken_by = task.state, task.info
        if state == states.SUCCESS:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        if state == states.FAILURE:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its Celery task failed: {taken_by!r}")
        worker = taken_by.get("hostname") if isinstance(taken_by, dict) else None
        if self._is_held(task_id, worker):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"worker {worker or '(unknown)'} is gone, or has restarted without its Celery task {task_id}",
        )

    def _is_held(self, task_id: str, worker: str | None) -> bool:
        """Ask whether a worker has the task; a named worker ends the wait by its answer."""
        asked = (
            Inspect(app=self.celery, timeout=_TIMEOUT_S, destination=[worker], limit=1)
            if worker
            else Inspect(app=self.celery, timeout=_TIMEOUT_S)
        )
        return any(task_id in tasks for tasks in (asked.query_task(task_id) or {}).values())
