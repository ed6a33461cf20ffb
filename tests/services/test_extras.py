"""Each extra, installed from the built wheel into a fresh environment, runs its main command there.

test_training.py covers `train`, in the environment that holds PyTorch.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarks.extras import Environment, build_wheel, install
from tests.conftest import Deployment

pytestmark = pytest.mark.services

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# Distributions that the core must not bring.
HEAVY = {"dagster", "numba", "opencv-python-headless", "onnx", "onnxruntime", "tritonclient"}

QUANTISE = """
from pathlib import Path
import numpy as np
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.training.quantisation import quantise
source, target = shipped_repository().graph(ModelVersion("corine-unet", 1)), Path("int8.onnx")
quantise(source, target, [np.full((10, 64, 64), 5, np.uint16)])
print(target.stat().st_size < source.stat().st_size)
"""

CLOUD = """
import numpy as np
from earthsignature_assets.imagery.masks.cloud_model import classify
print(classify(np.full((6, 64, 64), 0.1, np.float32), np.zeros((64, 64), bool)).shape)
"""

KUBERNETES = """
import yaml
from dagster_k8s import K8sRunLauncher
from dagster._config import process_config
with open({file!r}) as file:
    launcher = yaml.safe_load(file)["run_launcher"]
print(process_config(K8sRunLauncher.config_type(), launcher["config"]).success)
"""

Install = Callable[[str], Environment]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Install an extra, once for all tests of this module."""
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    made: dict[str, Environment] = {}

    def environment(extra: str) -> Environment:
        if extra not in made:
            made[extra] = install(wheel, extra, tmp_path_factory.mktemp("extra") / (extra or "core"))
        return made[extra]

    return environment


def test_the_core_fetches_from_a_service_that_the_service_extra_runs(
    installed: Install, deployment: Deployment, tmp_path: Path
) -> None:
    core, service = installed(""), installed("service")
    assert not core.distributions() & HEAVY
    assert "dagster" not in service.distributions()
    home = deployment.settings.home
    serve = [str(service.command), "serve", "--home", str(home), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            get = [
                str(core.command),
                "get",
                "--target",
                address,
                "--as",
                "geoparquet",
                "--to",
                str(tmp_path / "products"),
            ]
            subprocess.run(get, cwd=tmp_path, check=True, timeout=60)
        finally:
            process.terminate()
    (file,) = (tmp_path / "products").glob("*.parquet")
    assert file.name.startswith(deployment.product.product_id)


def test_the_platform_runs_the_demo(installed: Install, tmp_path: Path) -> None:
    demo = [str(installed("platform").command), "demo", "--home", str(tmp_path / "home"), "--size", "256"]
    done = subprocess.run(demo, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list((tmp_path / "home" / "store" / "products").glob("*/*/*/item.json"))


@pytest.mark.parametrize(("extra", "code", "answer"), [("quantise", QUANTISE, "True"), ("cloud", CLOUD, "(64, 64)")])
def test_an_extra_of_the_platform_works(installed: Install, extra: str, code: str, answer: str) -> None:
    assert installed(extra).run(code).strip() == answer


def test_a_celery_worker_knows_the_jobs_of_dagster(installed: Install, tmp_path: Path) -> None:
    launcher = yaml.safe_load((DEPLOY / "dagster-celery.yaml").read_text())["run_launcher"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    code = "from earthsignature_assets.automation.celery_worker import app; print(*app.tasks)"
    redis = "redis://127.0.0.1:6379/0"
    variables = {
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_CELERY_BROKER_URL": redis,
        "DAGSTER_CELERY_RESULTS_URL": redis,
    }
    command = [str(installed("celery").python), "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True
    )
    assert "execute_job" in done.stdout.split()


def test_the_kubernetes_launcher_takes_the_deployed_configuration(installed: Install) -> None:
    file = DEPLOY / "kubernetes" / "base" / "dagster.yaml"
    assert installed("kubernetes").run(KUBERNETES.format(file=str(file))).strip() == "True"
