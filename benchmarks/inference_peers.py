"""Peers of the inference rows: the engine alone, eager PyTorch, a blended sliding window, Triton."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.row import Options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from earthsignature_assets.imagery.patches.patch_store import PatchStore
    from earthsignature_assets.inference.engine import Engine
    from earthsignature_assets.keys import ModelVersion
    from earthsignature_assets.models.repository import ModelRepository

TRITON = Path("build/services/triton/tritonserver")
THREADS = 2


def without_torch() -> str | None:
    """Return the reason why PyTorch cannot run here, or None."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "torch is not installed (pip install torch: any build that this machine runs)"
    return None


def without_triton() -> str | None:
    """Return the reason why Triton cannot run here, or None."""
    return None if TRITON.exists() else f"{TRITON} is absent: run scripts/install_triton"


def window_of(patches: "PatchStore", side: int) -> "npt.NDArray[np.uint16]":
    """Read the upper left window of a store, (1, bands, side, side) uint16."""
    import numpy as np

    return np.ascontiguousarray(patches.reflectance(slice(0, side), slice(0, side))[None])


def seconds_a_pixel(engine: "Engine", window: "npt.NDArray[np.uint16]", times: int) -> float:
    """Time the engine alone on one window repeatedly, at its preferred concurrency; halo pixels count."""
    with ThreadPoolExecutor(engine.windows_at_once) as pool:
        started = time.perf_counter()
        list(pool.map(engine.segment, [window] * times))
        seconds = time.perf_counter() - started
    return float(seconds / (times * window[0, 0].size))


def torch_eager(patches: "PatchStore", core: int, halo: int) -> Callable[[], float]:
    """Run the network in PyTorch as after training (width and depth of corine-unet), on the same windows.

    Channels last, inference mode, both threads; without reading or writing in the measured time. Seconds a core pixel.
    """
    import numpy as np
    import torch

    from earthsignature_assets.training.network import Architecture, PackagedNetwork, UNet

    torch.set_num_threads(THREADS)
    architecture = Architecture()
    network = UNet(architecture, [6.0] * architecture.bands, [1.0] * architecture.bands)
    packaged = PackagedNetwork(network).eval().to(memory_format=torch.channels_last)
    side = core + 2 * halo
    window = torch.from_numpy(window_of(patches, side).astype(np.int32)).to(memory_format=torch.channels_last)

    def work() -> float:
        with torch.inference_mode():
            started = time.perf_counter()
            for _ in range(2):
                packaged(window)
            return (time.perf_counter() - started) / (2 * core * core)

    return work


def blended_sliding_window(repository: "ModelRepository", model: "ModelVersion", patches: "PatchStore") -> Any:
    """Run windows of 512² that overlap by half, sum their probabilities with Gaussian weights, and take the best class.

    Segmentation tutorials and libraries do so to avoid seams. The network is the shipped graph up to its logits, with
    the session options of the embedded engine. Seconds a pixel of the scene, which is read into memory beforehand.
    """
    import numpy as np
    import onnx
    import onnxruntime as ort

    graph = onnx.load(repository.graph(model))
    logits = next(node.input[0] for node in graph.graph.node if node.op_type == "ArgMax")
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(graph))
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.enable_mem_pattern = False
    cut = extractor.extract_model(["reflectance"], [logits]).SerializeToString()
    session = ort.InferenceSession(cut, options, providers=["CPUExecutionProvider"])
    scene = window_of(patches, 2048)
    side, step = 512, 256
    ramp = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side / 8)) ** 2).astype(np.float32)
    weight = ramp[:, None] * ramp
    classes = len(repository.describe(model).classes)

    def work() -> float:
        started = time.perf_counter()
        total = np.zeros((classes, *scene.shape[2:]), np.float32)
        for row in range(0, scene.shape[2] - side + 1, step):
            for column in range(0, scene.shape[3] - side + 1, step):
                here = (slice(row, row + side), slice(column, column + side))
                answer = session.run(None, {"reflectance": np.ascontiguousarray(scene[:, :, *here])})[0][0]
                probability = np.exp(answer - answer.max(axis=0))
                probability /= probability.sum(axis=0)
                total[:, *here] += probability * weight
        total.argmax(axis=0).astype(np.uint8)
        return float((time.perf_counter() - started) / total[0].size)

    return work


@contextmanager
def triton_on_processors(options: Options, repository: "ModelRepository", model: "ModelVersion") -> Iterator["Engine"]:
    """Start a Triton server for the model, and yield an engine that uses it."""
    from earthsignature_assets.inference.triton_engine import TritonEngine
    from earthsignature_assets.models.triton_repository import TritonTarget, write_triton_repository

    served = Path(tempfile.mkdtemp(prefix="triton-", dir=options.folder))
    write_triton_repository(repository, [model], TritonTarget.PYTHON, served)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        str(TRITON),
        f"--model-repository={served}",
        "--model-control-mode=explicit",
        f"--load-model={model.name}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--allow-gpu-metrics=false",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        f"--backend-config=python,shm-region-prefix-name=earthsignature_bench_{os.getpid()}",
    ]
    with (served / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_until_served(port, process, served / "log")
            from earthsignature_assets.models.repository import ModelRepository

            with closing(TritonEngine(ModelRepository(served), model, [f"127.0.0.1:{port}"])) as engine:
                yield engine
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(served)


def _wait_until_served(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Triton does not start: {log.read_text(errors='replace')[-2000:]}")
