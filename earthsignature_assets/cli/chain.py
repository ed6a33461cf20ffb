"""The chain on the command line: Dagster runs in this process, on the instance of a home."""

import contextlib
import datetime as dt
import os
import shutil
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError

from earthsignature_assets.automation.jobs import discovery_job, land_cover_job, patches_job
from earthsignature_assets.definitions import definitions
from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.imagery.days.scene_verdicts import SceneVerdict
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import day_of, model_versions, scene_model_key, scenes
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.system.settings import Settings

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(EarthSignatureError):
    """A failed Dagster run, with the message of the step's error."""


class Chain:
    """The assets of one home, which each method materialises by one run."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._definitions = definitions(settings)
        self._instance = instance
        self._workspace = Workspace.of(settings)

    def discover(self, day: dt.date) -> None:
        """Materialise `discovered_items` and `clear_scenes` of a day; the accepted scenes become partitions.

        Raises:
            InvalidKeyError: the day is not over, or is before Sentinel-2.
            RunFailedError: the run failed.
        """
        self._run(discovery_job.name, day_of(day.isoformat()).isoformat())

    def scenes(self, day: dt.date) -> list[SceneKey]:
        """Return the accepted scenes of a day, sorted by key."""
        keys = self._instance.get_dynamic_partitions(str(scenes.name))
        return sorted(SceneKey.parse(key) for key in keys if key.startswith(day.isoformat()))

    def verdicts(self, day: dt.date) -> list[SceneVerdict]:
        """Return the verdicts on the scenes of a day, sorted by key."""
        return self._workspace.days.verdicts(day)

    def fetch(self, scene: SceneKey) -> None:
        """Materialise `patches` of a scene.

        Raises:
            RunFailedError: the run failed.
        """
        self._instance.add_dynamic_partitions(str(scenes.name), [str(scene)])
        self._run(patches_job.name, str(scene))

    def segment(self, scene: SceneKey, model: ModelVersion) -> Product:
        """Materialise all assets from `segmentation` to `land_cover_product`; return the published product.

        Raises:
            RunFailedError: the run failed, or published nothing.
        """
        self._instance.add_dynamic_partitions(str(model_versions.name), [str(model)])
        self._run(land_cover_job.name, scene_model_key(scene, model))
        draft = Draft.load(self._workspace.draft(scene, model))
        with self._workspace.store.open_catalogue(read_only=True) as catalogue:
            product = catalogue.find(draft.product_id, model)
        if product is None:
            raise RunFailedError(f"{draft.product_id} is not in the catalogue: run `earthsignature catalogue rebuild`")
        return product

    def _run(self, job: str, partition: str) -> None:
        run_id = str(uuid.uuid4())
        try:
            self._definitions.resolve_job_def(job).execute_in_process(
                instance=self._instance, partition_key=partition, run_config=_QUIET, run_id=run_id
            )
        except dg.Failure as failure:
            raise RunFailedError(failure.description or str(failure)) from failure
        except DagsterAssetCheckFailedError as failure:
            raise RunFailedError(f"{partition}: {self._failed_checks(run_id)}") from failure

    def _failed_checks(self, run_id: str) -> str:
        logs = self._instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [log.dagster_event.asset_check_evaluation_data for log in logs if log.dagster_event]
        return "; ".join(f"check {one.check_name} failed: {one.description}" for one in found if not one.passed)


@contextlib.contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of a home, or create it on first use: SQLite in `<home>/dagster`."""
    with dg.DagsterInstance.from_config(str(dagster_home(home))) as instance:
        yield instance


def dagster_home(home: Path) -> Path:
    """Return the DAGSTER_HOME of a home and put `dagster.yaml` there, unless it exists."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "dagster.yaml"
    if not target.exists():
        with resources.as_file(resources.files("earthsignature_assets.cli") / "dagster.yaml") as source:
            shutil.copyfile(source, target)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder
