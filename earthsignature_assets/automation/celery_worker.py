"""The Celery app of workers, as the `dagster.yaml` of their DAGSTER_HOME has it: broker and settings stand there once.

    celery --app earthsignature_assets.automation.celery_worker worker --queues dagster --concurrency 2

A pool process keeps what it imported, so after an upgrade workers are started again.
"""

import dagster as dg
from celery import Celery
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from earthsignature_assets.errors import ConfigurationError


def worker_app(instance: dg.DagsterInstance) -> Celery:
    """The app of an instance's run launcher, with the tasks that run Dagster's jobs.

    Raises:
        ConfigurationError: the instance runs its jobs elsewhere.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        raise ConfigurationError(
            f"run_launcher of {instance.root_directory}/dagster.yaml is {type(launcher).__name__}: "
            "copy deploy/dagster-celery.yaml there"
        )
    create_execute_job_task(launcher.celery)
    create_resume_job_task(launcher.celery)
    return launcher.celery


def __getattr__(name: str) -> Celery:
    # `celery` imports this module for its `app`; others import it without an instance.
    if name != "app":
        raise AttributeError(name)
    with dg.DagsterInstance.get() as instance:
        return worker_app(instance)
