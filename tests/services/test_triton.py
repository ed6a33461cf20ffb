"""The Triton engine against real Triton servers, which run the shipped graph on processors."""

import datetime as dt
import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.errors import EngineUnavailableError, ModelError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.inference import triton_engine
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Segments
from earthsignature_assets.inference.segmentation import segment_scene
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.inference.triton_engine import TritonEngine
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.models.triton_repository import TritonTarget, write_triton_repository
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

pytestmark = pytest.mark.services

AddVersion = Callable[..., None]
StartTriton = Callable[..., tuple[str, "subprocess.Popen[bytes]"]]
LACKS = "unable to find.*backend|no version is available|KIND_GPU"
V1, V2, V3 = (ModelVersion("corine-unet", version) for version in (1, 2, 3))


def answering(body: str) -> str:
    """The end of a `model.py` that answers something else than its graph's `index` and `confidence`."""
    return f"""

class TritonPythonModel(TritonPythonModel):
    def answer(self, reflectance):
        index, confidence = (values.copy() for values in super().answer(reflectance))
        {body}
"""


def window(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 6000, shape, np.uint16)


def assert_same(one: Segments, other: Segments) -> None:
    assert np.array_equal(one.class_index, other.class_index)
    assert np.array_equal(one.confidence, other.confidence)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, add_version: AddVersion) -> ModelRepository:
    """Version 1 is the shipped one; version 2 is the same network that is never sure."""
    repository = ModelRepository(tmp_path_factory.mktemp("models"))
    add_version(repository, 1)
    add_version(repository, 2, answering("return index, np.minimum(confidence, 50)"))
    return repository


@pytest.fixture(scope="module")
def embedded(repository: ModelRepository) -> EmbeddedEngine:
    return EmbeddedEngine(repository, V1)


@pytest.fixture(scope="module")
def endpoint(repository: ModelRepository, start_triton: StartTriton) -> str:
    return start_triton(repository)[0]


@pytest.fixture
def engine(repository: ModelRepository, endpoint: str) -> Iterator[TritonEngine]:
    with closing(TritonEngine(repository, V1, [endpoint])) as opened:
        yield opened


@pytest.mark.parametrize("shape", [(1, 10, 64, 64), (3, 10, 64, 160), (8, 10, 32, 32), (1, 10, 1216, 1216)])
def test_triton_answers_as_the_embedded_engine_does(
    engine: TritonEngine, embedded: EmbeddedEngine, shape: tuple[int, ...]
) -> None:
    assert_same(engine.segment(window(*shape)), embedded.segment(window(*shape)))


def test_the_chain_through_triton_equals_the_embedded_engine_bit_for_bit(
    endpoint: str, repository: ModelRepository, embedded: EmbeddedEngine, tmp_path: Path
) -> None:
    scene = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")
    with serve_files(tmp_path / "simulated") as base_url:
        simulated = simulate_scene(SceneRecipe(scene, size=640, swath_edge=0.3), tmp_path / "simulated", base_url)
        with serve_stac([simulated.item_path]) as api, open_instance(tmp_path) as instance:
            settings = Settings(
                home=tmp_path, stac_api=api, area="32TQM", models=str(repository.root), triton=f"127.0.0.1:1,{endpoint}"
            )
            chain = Chain(settings, instance)
            chain.discover(scene.day)
            chain.fetch(scene)
            assert chain.segment(scene, V1).current
    workspace = Workspace(home=str(tmp_path))
    summary = segment_scene(PatchStore(workspace.patches(scene)), embedded, tmp_path / "embedded.zarr")
    through_triton = SegmentationStore(workspace.segmentation(scene, V1))
    in_process = SegmentationStore(tmp_path / "embedded.zarr")
    assert summary.valid_pixels > 0
    assert np.array_equal(through_triton.class_index, in_process.class_index)
    assert np.array_equal(through_triton.confidence, in_process.confidence)


def test_two_versions_are_served_side_by_side(
    engine: TritonEngine, endpoint: str, repository: ModelRepository, embedded: EmbeddedEngine
) -> None:
    asked = window(1, 10, 96, 96)
    with closing(TritonEngine(repository, V2, [endpoint])) as unsure:
        for _ in range(2):
            expected = embedded.segment(asked)
            assert_same(engine.segment(asked), expected)
            assert_same(unsure.segment(asked), Segments(expected.class_index, np.minimum(expected.confidence, 50)))


def test_a_version_that_comes_later_is_loaded_and_leaves_the_others_in_use(
    add_version: AddVersion, start_triton: StartTriton, tmp_path: Path
) -> None:
    growing = ModelRepository(tmp_path)
    add_version(growing, 1)
    endpoint, _ = start_triton(growing)
    asked = window(1, 10, 64, 64)
    with closing(TritonEngine(growing, V1, [endpoint])) as first:
        before = first.segment(asked)
        add_version(growing, 2, answering("return index, np.minimum(confidence, 50)"))
        with closing(TritonEngine(growing, V2, [endpoint])) as second:
            assert np.array_equal(second.segment(asked).confidence, np.minimum(before.confidence, 50))
        assert_same(first.segment(asked), before)


def test_a_version_that_the_server_lacks_is_named(
    add_version: AddVersion, repository: ModelRepository, endpoint: str, tmp_path: Path
) -> None:
    wider = ModelRepository(tmp_path)
    add_version(wider, 3)
    with pytest.raises(ModelError, match=r"corine-unet-v3 is not on Triton at 127.*corine-unet/3"):
        TritonEngine(wider, V3, [endpoint])
    with pytest.raises(ModelError, match=r"corine-unet-v3 is not in the model repository"):
        TritonEngine(repository, V3, [endpoint])


def test_a_model_that_the_server_lacks_is_named(repository: ModelRepository, endpoint: str, tmp_path: Path) -> None:
    folder = tmp_path / "other-unet" / "1"
    shutil.copytree(repository.folder(V1), folder)
    (folder / "model.json").write_text(
        json.dumps(json.loads((folder / "model.json").read_text()) | {"model": "other-unet"})
    )
    with pytest.raises(ModelError, match="other-unet-v1 cannot be loaded by Triton at 127"):
        TritonEngine(ModelRepository(tmp_path), ModelVersion("other-unet", 1), [endpoint])


def test_a_graph_of_other_bands_is_refused_at_the_start(
    repository: ModelRepository, endpoint: str, tmp_path: Path
) -> None:
    folder = tmp_path / "corine-unet" / "1"
    shutil.copytree(repository.folder(V1), folder)
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | {"bands": content["bands"][:9], "training_range": None}))
    with pytest.raises(ModelError, match=r"of \[10\] bands.* expected .* of 9 bands"):
        TritonEngine(ModelRepository(tmp_path), V1, [endpoint])


def test_windows_that_do_not_fit_are_refused(engine: TritonEngine) -> None:
    with pytest.raises(ModelError, match="multiples of"):
        engine.segment(window(1, 10, 63, 64))
    with pytest.raises(ModelError, match=r"INVALID_ARGUMENT.*batch-size"):
        engine.segment(window(9, 10, 64, 64))
    assert engine.segment(window(1, 10, 64, 64)).class_index.shape == (1, 64, 64)


def test_a_version_unloaded_in_use_is_loaded_again(
    engine: TritonEngine, embedded: EmbeddedEngine, endpoint: str
) -> None:
    with closing(triton.InferenceServerClient(endpoint)) as operator:
        operator.unload_model(V1.name)
        until = time.monotonic() + 20
        while operator.is_model_ready(V1.name, "1") and time.monotonic() < until:
            time.sleep(0.05)
        assert not operator.is_model_ready(V1.name, "1")
    assert_same(engine.segment(window(1, 10, 64, 64)), embedded.segment(window(1, 10, 64, 64)))


def test_a_version_unloaded_while_its_windows_are_under_way_comes_back(
    endpoint: str, repository: ModelRepository, embedded: EmbeddedEngine
) -> None:
    asked = window(1, 10, 320, 320)
    expected = embedded.segment(asked)
    with (
        closing(TritonEngine(repository, V1, [endpoint], windows_at_once=2)) as engine,
        closing(triton.InferenceServerClient(endpoint)) as operator,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = [pool.submit(engine.segment, asked) for _ in range(40)]
        answers[3].result()
        operator.unload_model(V1.name)
        for answer in answers:
            assert_same(answer.result(), expected)


def test_a_full_queue_is_waited_for_by_all_four_scenes(
    add_version: AddVersion, start_triton: StartTriton, tmp_path: Path, embedded: EmbeddedEngine
) -> None:
    slow = ModelRepository(tmp_path)
    add_version(slow, 1, answering("import time; time.sleep(0.05); return index, confidence"))
    configuration = tmp_path / V1.name / "config.pbtxt"
    text = configuration.read_text()
    configuration.write_text(text.replace("max_queue_size: 16", "max_queue_size: 1").replace("count: 3", "count: 1"))
    endpoint, process = start_triton(slow)
    asked = window(1, 10, 64, 64)
    expected = embedded.segment(asked)
    with ExitStack() as stack:
        scenes = [stack.enter_context(closing(TritonEngine(slow, V1, [endpoint]))) for _ in range(4)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        pause = mock.Mock(wraps=time.sleep)
        stack.enter_context(mock.patch.object(triton_engine, "time", mock.Mock(wraps=time, sleep=pause)))
        for answer in pool.map(lambda at: scenes[at % 4].segment(asked), range(32)):
            assert_same(answer, expected)
    assert pause.called, "the queue never filled: this shows nothing"
    assert process.poll() is None


def test_a_server_that_stays_full_is_given_up_in_the_end(
    add_version: AddVersion, start_triton: StartTriton, tmp_path: Path
) -> None:
    slow = ModelRepository(tmp_path)
    add_version(slow, 1, answering("import time; time.sleep(0.3); return index, confidence"))
    configuration = tmp_path / V1.name / "config.pbtxt"
    text = configuration.read_text()
    configuration.write_text(text.replace("max_queue_size: 16", "max_queue_size: 1").replace("count: 3", "count: 1"))
    endpoint, _ = start_triton(slow)
    asked = window(8, 10, 64, 64)
    with closing(TritonEngine(slow, V1, [endpoint], deadline_s=1.5)) as engine, ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(engine.segment, asked) for _ in range(36)]
        errors = [error for answer in answers if (error := answer.exception())]
    assert errors
    for error in errors:
        assert isinstance(error, EngineUnavailableError)
        assert "maximum queue size" in str(error) or "DEADLINE_EXCEEDED" in str(error)


def test_a_killed_server_is_worth_another_try(repository: ModelRepository, start_triton: StartTriton) -> None:
    endpoint, process = start_triton(repository)
    with closing(TritonEngine(repository, V1, [endpoint])) as engine:
        process.kill()
        process.wait()
        with pytest.raises(EngineUnavailableError, match=rf"corine-unet-v1: no Triton endpoint responds.*{endpoint}"):
            engine.segment(window(1, 10, 64, 64))
    assert EngineUnavailableError.retryable


def test_the_next_endpoint_takes_over(
    repository: ModelRepository, endpoint: str, start_triton: StartTriton, embedded: EmbeddedEngine
) -> None:
    first, process = start_triton(repository)
    with closing(TritonEngine(repository, V1, [first, endpoint])) as engine:
        process.kill()
        process.wait()
        for seed in range(2):
            asked = window(1, 10, 64, 64, seed=seed)
            assert_same(engine.segment(asked), embedded.segment(asked))


def test_a_dead_backend_is_found_although_its_server_says_ready(
    repository: ModelRepository, start_triton: StartTriton
) -> None:
    endpoint, process = start_triton(repository)
    with closing(TritonEngine(repository, V1, [endpoint], deadline_s=20)) as engine:
        for stub in children(process.pid):
            os.kill(stub, signal.SIGKILL)
        with closing(triton.InferenceServerClient(endpoint)) as client:
            assert client.is_model_ready(V1.name, "1")
        with pytest.raises(EngineUnavailableError, match="INTERNAL"):
            engine.segment(window(1, 10, 64, 64))
        with pytest.raises(EngineUnavailableError, match="restart the server"):
            TritonEngine(repository, V1, [endpoint], deadline_s=20)


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    assert any(found)
    return [int(child) for some in found for child in some]


def test_a_server_that_is_too_slow_is_not_waited_for(
    add_version: AddVersion, start_triton: StartTriton, tmp_path: Path
) -> None:
    slow = ModelRepository(tmp_path)
    add_version(slow, 1, answering("import time; time.sleep(3); return index, confidence"))
    endpoint, _ = start_triton(slow)
    with pytest.raises(EngineUnavailableError, match="DEADLINE_EXCEEDED"):
        TritonEngine(slow, V1, [endpoint], deadline_s=0.5)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("return index * 0, confidence", "class indices 0"),
        ("return index[:, 1:], confidence", r"class_index came back as uint8 \(1, 63, 64\)"),
        ("return index, confidence.astype('float32')", "confidence"),
        ("return index, (confidence / float('nan')).astype('uint8')", "NaN"),
        ("confidence[reflectance[:, 0] == 65535] = 0; return index, confidence", "NaN"),
    ],
)
def test_an_answer_that_is_not_as_described_is_found_at_the_start(
    add_version: AddVersion, start_triton: StartTriton, tmp_path: Path, body: str, named: str
) -> None:
    broken = ModelRepository(tmp_path)
    add_version(broken, 1, answering(body))
    endpoint, _ = start_triton(broken)
    with pytest.raises(ModelError, match=named):
        TritonEngine(broken, V1, [endpoint])


def test_numpy_2_in_the_servers_environment_is_found_at_the_start(
    repository: ModelRepository, start_triton: StartTriton, tmp_path: Path
) -> None:
    assert np.__version__.startswith("2.")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", tmp_path], check=True)
    # The packages of the tests themselves, which are those of another Python 3.11.
    (tmp_path / "lib" / "python3.11" / "site-packages" / "ours.pth").write_text(sysconfig.get_paths()["purelib"])
    endpoint, _ = start_triton(repository, environment=tmp_path)
    with pytest.raises(ModelError, match="numpy<2"):
        TritonEngine(repository, V1, [endpoint])


def test_a_corrupt_graph_is_named(add_version: AddVersion, start_triton: StartTriton, tmp_path: Path) -> None:
    broken = ModelRepository(tmp_path)
    add_version(broken, 1)
    endpoint, _ = start_triton(broken)
    graph = broken.folder(V1) / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:5000])
    with pytest.raises(ModelError, match=rf"corine-unet-v1 cannot be loaded by Triton at {endpoint}"):
        TritonEngine(broken, V1, [endpoint])


@pytest.mark.parametrize("target", [target for target in TritonTarget if target is not TritonTarget.PYTHON])
def test_triton_takes_the_configurations_for_other_backends_up_to_the_backend_that_it_lacks(
    start_triton: StartTriton, tmp_path: Path, target: TritonTarget
) -> None:
    repository = ModelRepository(tmp_path)
    write_triton_repository(shipped_repository(), [V1], target, tmp_path)
    endpoint, _ = start_triton(repository)
    with closing(triton.InferenceServerClient(endpoint)) as client:
        with pytest.raises(InferenceServerException, match=LACKS):
            client.load_model(V1.name)
        configuration = tmp_path / V1.name / "config.pbtxt"
        configuration.write_text(configuration.read_text().replace("max_queue_size", "most_in_queue"))
        with pytest.raises(InferenceServerException) as misspelt:
            client.load_model(V1.name)
        assert not re.search(LACKS, str(misspelt.value))
