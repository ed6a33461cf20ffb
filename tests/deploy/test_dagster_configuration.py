"""The variants of `dagster.yaml`: each is read by Dagster's own schema, and they differ where they say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_k8s import K8sRunLauncher

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "dagster.yaml"
POSTGRES = ROOT / "deploy" / "dagster-postgres.yaml"
CELERY = ROOT / "deploy" / "dagster-celery.yaml"
KUBERNETES = ROOT / "deploy" / "kubernetes" / "base" / "dagster.yaml"


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


@pytest.mark.parametrize("path", [DEFAULT, POSTGRES, CELERY, KUBERNETES], ids=lambda path: path.stem)
def test_dagster_takes_the_whole_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(path.read_text())
    found, _ = dagster_instance_config(str(tmp_path))
    assert set(read(path)) <= set(found)


@pytest.mark.parametrize(
    ("path", "others"),
    [
        (POSTGRES, {"storage"}),
        (CELERY, {"storage", "run_launcher", "compute_logs", "local_artifact_storage"}),
        (KUBERNETES, {"storage", "run_launcher", "compute_logs", "local_artifact_storage"}),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_a_variant_differs_where_it_must_alone(path: Path, others: set[str]) -> None:
    default = read(DEFAULT)
    assert {name: value for name, value in read(path).items() if name not in others} == {
        name: value for name, value in default.items() if name not in others
    }


def test_the_variants_for_many_machines_share_their_storage() -> None:
    for name in ("storage", "compute_logs", "local_artifact_storage"):
        assert read(CELERY)[name] == read(KUBERNETES)[name]
    assert read(CELERY)["storage"] == read(POSTGRES)["storage"]


@pytest.mark.parametrize(
    ("path", "launcher"), [(CELERY, CeleryRunLauncher), (KUBERNETES, K8sRunLauncher)], ids=["celery", "kubernetes"]
)
def test_the_launcher_takes_its_configuration(path: Path, launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_CELERY_BROKER_URL", "DAGSTER_CELERY_RESULTS_URL"):
        monkeypatch.setenv(name, "redis://127.0.0.1:6379/0")
    processed = process_config(launcher.config_type(), read(path)["run_launcher"]["config"])
    assert processed.success, processed.errors


def test_a_name_that_the_launcher_does_not_know_is_refused() -> None:
    configuration = read(KUBERNETES)["run_launcher"]["config"] | {"job_imagee": "x"}
    assert not process_config(K8sRunLauncher.config_type(), configuration).success


def test_the_celery_launcher_is_ours_and_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_CELERY_BROKER_URL", "DAGSTER_CELERY_RESULTS_URL"):
        monkeypatch.setenv(name, "redis://127.0.0.1:6379/0")
    content = read(CELERY)["run_launcher"]
    data = ConfigurableClassData(content["module"], content["class"], yaml.safe_dump(content["config"]))
    launcher = data.rehydrate(as_type=CeleryRunLauncher)
    assert type(launcher).__name__ == "WatchedCeleryRunLauncher"
    assert launcher.celery.conf.broker_url == "redis://127.0.0.1:6379/0"
    assert not launcher.celery.conf.task_acks_late
