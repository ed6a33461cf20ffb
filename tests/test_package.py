"""An installed wheel works outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.extras import build_wheel

ROOT = Path(__file__).resolve().parents[1]

PROBE = """
import sys
from pathlib import Path
import earthsignature_assets
assert str(Path(earthsignature_assets.__file__)).startswith(sys.argv[1]), earthsignature_assets.__file__
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.cli.chain import dagster_home
from earthsignature_grpc.wire.descriptors import wire_pool
EmbeddedEngine(shipped_repository(), ModelVersion("corine-unet", 1))
assert (dagster_home(Path(sys.argv[2])) / "dagster.yaml").read_text()
assert wire_pool().FindServiceByName("snapearth.api.v2.DatabaseProductService")
from earthsignature_assets.definitions import defs
print(len(defs.resolve_asset_graph().get_all_asset_keys()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_model_the_messages_and_the_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for needed in (
        "earthsignature_assets/models/shipped/corine-unet/1/model.onnx",
        "earthsignature_assets/models/shipped/corine-unet/1/model.json",
        "earthsignature_assets/models/shipped/corine-unet/1/card.md",
        "earthsignature_assets/cli/dagster.yaml",
        "earthsignature_assets/py.typed",
        "earthsignature_grpc/messages/descriptors.binpb",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


def test_an_index_would_take_the_wheel(wheel: Path) -> None:
    for command in (["twine", "check", "--strict"], ["check-wheel-contents"]):
        done = subprocess.run(
            [sys.executable, "-m", command[0].replace("-", "_"), *command[1:], str(wheel)],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    # The dependencies are this environment's, the project is the wheel's: it comes first on the path.
    probe = f"import sys; sys.path.insert(0, {str(installed)!r})\n{PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", probe, str(installed), str(tmp_path / "home")],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "10"  # assets


HEAVY = (
    "dagster",
    "numba",
    "cv2",
    "onnxruntime",
    "onnx",
    "tritonclient",
    "zarr",
    "pystac",
    "rustac",
    "obstore",
    "psycopg",
)

BLOCKED = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def _without_extras(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", BLOCKED + code], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "code",
    [
        "import earthsignature_grpc.client.raster_arrays, earthsignature_grpc.wire.geobuf_reader",
        "import earthsignature_assets.keys, earthsignature_assets.nomenclature, earthsignature_assets.grid",
        "import earthsignature_assets.cli.get, earthsignature_assets.pictures",
        "from earthsignature_assets.cli.main import main; main(['get', '--help'])",
        "from earthsignature_assets.cli.main import main; main(['settings'])",
    ],
)
def test_the_core_imports_no_module_of_an_extra(code: str) -> None:
    done = _without_extras(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["serve"], "service"),
        (["demo"], "platform"),
        (["models"], "platform"),
        (["missing"], "platform"),
        (["catalogue", "tell-dagster"], "platform"),
    ],
)
def test_a_command_without_its_extra_names_the_install_line(command: list[str], extra: str, tmp_path: Path) -> None:
    arguments = [*command, "--home", str(tmp_path)]
    done = _without_extras(f"from earthsignature_assets.cli.main import main; main({arguments!r})")
    assert done.returncode == 1
    assert f"pip install 'earthsignature[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_alone_names_its_extra(tmp_path: Path) -> None:
    code = f"from earthsignature_grpc.__main__ import main; main(['--store', {str(tmp_path)!r}])"
    assert "pip install 'earthsignature[service]'" in _without_extras(code).stderr
