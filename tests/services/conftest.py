"""Real servers, started on free loopback ports and stopped by the fixtures that started them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.models.triton_repository import TritonTarget, write_triton_repository

TRITON = Path(__file__).resolve().parents[2] / "build" / "services" / "triton" / "tritonserver"
SHIPPED = ModelVersion("corine-unet", 1)


AddVersion = Callable[..., None]
StartTriton = Callable[..., tuple[str, "subprocess.Popen[bytes]"]]


@pytest.fixture(scope="session")
def add_version() -> AddVersion:
    """Put a copy of the shipped version into a repository for Triton's python backend, under another number.

    `behaviour` is Python that is appended to the backend's `model.py`: it may change what the version does.
    """

    def add(repository: ModelRepository, version: int, behaviour: str = "") -> None:
        shipped, folder = shipped_repository(), repository.folder(ModelVersion(SHIPPED.name, version))
        shutil.copytree(shipped.folder(SHIPPED), folder)
        description = json.loads((folder / "model.json").read_text()) | {"version": version}
        (folder / "model.json").write_text(json.dumps(description))
        write_triton_repository(repository, [ModelVersion(SHIPPED.name, version)], TritonTarget.PYTHON, repository.root)
        with (folder / "model.py").open("a") as backend:
            backend.write(behaviour)

    return add


@pytest.fixture(scope="session")
def start_triton(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[StartTriton]:
    """Start a Triton over a repository: its endpoint and its process. All are stopped at the end.

    `environment` is another Python environment for the python backend than that of the installation.
    """
    if not TRITON.is_file():
        pytest.fail("Triton is missing: run scripts/install_services")
    started: list[subprocess.Popen[bytes]] = []
    # What the python backend shares with its stubs outlives a killed server: a name to remove it by.
    shared_memory = f"earthsignature_test_{uuid.uuid4().hex}"

    def start(repository: ModelRepository, environment: Path | None = None) -> tuple[str, "subprocess.Popen[bytes]"]:
        port, log = free_port(), tmp_path_factory.mktemp("triton") / "log"
        options = [
            f"--model-repository={repository.root}",
            "--model-control-mode=explicit",
            "--allow-http=false",
            "--allow-metrics=false",
            "--allow-gpu-metrics=false",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={port}",
            "--exit-timeout-secs=5",
            f"--backend-config=python,shm-region-prefix-name={shared_memory}",
        ]
        with log.open("wb") as output:
            variables = os.environ | ({"TRITON_ENVIRONMENT": str(environment)} if environment else {})
            # A group of its own, because the stubs of a killed server live on.
            process = subprocess.Popen(
                [TRITON, *options], env=variables, stdout=output, stderr=output, start_new_session=True
            )
        started.append(process)
        endpoint = f"127.0.0.1:{port}"
        _wait_until_ready(endpoint, process, log)
        return endpoint, process

    try:
        yield start
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for left in Path("/dev/shm").glob(f"{shared_memory}*"):
            left.unlink()


def _wait_until_ready(endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        client = triton.InferenceServerClient(endpoint)
        try:
            if client.is_server_ready(client_timeout=2):
                return
        except InferenceServerException:
            pass
        finally:
            client.close()
        time.sleep(0.1)
    pytest.fail(f"Triton does not start:\n{log.read_text(errors='replace')[-4000:]}")
