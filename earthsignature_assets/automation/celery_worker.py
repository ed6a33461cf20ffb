"""The Celery app of workers, configured by the `dagster.yaml` of their DAGSTER_HOME: broker and settings.

    celery --app earthsignature_assets.automation.celery_worker worker --queues dagster --concurrency 2

A pool process keeps its imports, so restart the workers after an upgrade.
"""

import dagster as dg
from celery import Celery
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from earthsignature_assets.errors import ConfigurationError


def worker_app(instance: dg.DagsterInstance) -> Celery:
    """Return the app of an instance's run launcher, with the tasks that run Dagster's jobs.

    Raises:
        ConfigurationError: the instance has another run launcher.
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
    # `celery` imports this module for its `app`; other importers have no instance.
    if name != "app":
        raise AttributeError(name)
    with dg.DagsterInstance.get() as instance:
        return worker_app(instance)
