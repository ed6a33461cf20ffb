"""The launcher of runs on Celery workers, which notices when a worker is gone.

Dagster's own launcher believes the last state that the result backend holds. A worker that dies with its machine leaves
the state "started" behind, and the run would stay started until its time is over. This one asks the worker.
"""

import dagster as dg
from celery import states
from celery.app.control import Inspect
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_TIMEOUT_S = 10.0


class WatchedCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's Celery launcher, and a true answer to whether a run's worker is still at work on it.

    `deploy/dagster-celery.yaml` names it; its configuration is that of `dagster_celery.CeleryRunLauncher`.
    """

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the worker that took the run's task; where nobody knows which, ask all."""
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
            f"worker {worker or '(unknown)'} is gone, or has been started anew without its Celery task {task_id}",
        )

    def _is_held(self, task_id: str, worker: str | None) -> bool:
        """Whether a worker has the task; one that is named is waited for no longer than until it answers."""
        asked = (
            Inspect(app=self.celery, timeout=_TIMEOUT_S, destination=[worker], limit=1)
            if worker
            else Inspect(app=self.celery, timeout=_TIMEOUT_S)
        )
        return any(task_id in tasks for tasks in (asked.query_task(task_id) or {}).values())
