from importlib.util import find_spec
from pathlib import Path

import pytest

# Left out where PyTorch is absent: tests/services/test_training.py runs them in an environment that has it.
collect_ignore = [] if find_spec("torch") else ["test_network.py", "test_optimisation.py", "test_training.py"]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def _folder(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent: this test needs the real data")
    return path


@pytest.fixture(scope="session")
def hateg_folder() -> Path:
    return _folder("s2_hateg_34TFR_20181016")


@pytest.fixture(scope="session")
def eurosat_folder() -> Path:
    return _folder("eurosat_ms_geotorchai")


@pytest.fixture(scope="session")
def dynamic_world() -> Path:
    return _folder("dynamicworld/dynamicworld_forward_opset18.onnx")
