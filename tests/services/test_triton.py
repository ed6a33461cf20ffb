"""The Triton engine against real Triton servers, which run the shipped graph on processors."""

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.errors import EngineUnavailableError, ModelError
from earthsignature_assets.imagery.patch_store import PatchStore
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Segments
from earthsignature_assets.inference.segmentation import segment_scene
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.inference.triton import TritonEngine
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import ModelRepository
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene

pytestmark = pytest.mark.services

AddVersion = Callable[..., None]
StartTriton = Callable[..., tuple[str, "subprocess.Popen[bytes]"]]
V1, V2, V3 = (ModelVersion("corine-unet", version) for version in (1, 2, 3))


def answering(body: str) -> str:
    """The end of a `model.py` that answers something else than its graph's `index` and `confidence`."""
    return f"""

class TritonPythonModel(TritonPythonModel):
    def answer(self, reflectance):
        index, confidence = super().answer(reflectance)
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
    (folder / "model.json").write_text(json.dumps(content | {"bands": content["bands"][:9]}))
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


def test_a_killed_server_is_worth_another_try(repository: ModelRepository, start_triton: StartTriton) -> None:
    endpoint, process = start_triton(repository)
    with closing(TritonEngine(repository, V1, [endpoint])) as engine:
        process.kill()
        process.wait()
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError, match=rf"corine-unet-v1: no Triton endpoint answers.*{endpoint}"):
            engine.segment(window(1, 10, 64, 64))
    assert time.monotonic() - started < 10
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
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError, match="INTERNAL"):
            engine.segment(window(1, 10, 64, 64))
        with pytest.raises(EngineUnavailableError, match="restart the server"):
            TritonEngine(repository, V1, [endpoint], deadline_s=20)
    assert time.monotonic() - started < 60


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
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="DEADLINE_EXCEEDED"):
        TritonEngine(slow, V1, [endpoint], deadline_s=0.5)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("return index * 0, confidence", "class indices 0"),
        ("return index[:, 1:], confidence", r"class_index came back as uint8 \(1, 63, 64\)"),
        ("return index, confidence.astype('float32')", "confidence"),
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
