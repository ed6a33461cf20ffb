"""The tests that need PyTorch, in the environment that scripts/install_training makes."""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
REAL_DATA = ROOT.parent / "shared" / "data"
PYTHON = ROOT / "build" / "services" / "training" / "environment" / "bin" / "python"
# Those that are skipped without it, and the asset that says so.
SUITES = sorted(
    path
    for path in (ROOT / "tests").rglob("test_*.py")
    if 'importorskip("torch"' in path.read_text(encoding="utf-8") or path.name == "test_trained_model.py"
)


def test_what_needs_pytorch_runs_where_pytorch_is(tmp_path: Path) -> None:
    if not PYTHON.is_file():
        pytest.fail("PyTorch is missing: run scripts/install_training")
    report = tmp_path / "report.xml"
    suites = [str(path.relative_to(ROOT)) for path in SUITES if path != Path(__file__).resolve()]
    command = [str(PYTHON), "-m", "pytest", "-q", "-m", "not services", f"--junit-xml={report}", *suites]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    assert int(suite.get("tests", 0)) >= 15
    skipped = [element.get("message", "") for element in suite.iter("skipped")]
    if REAL_DATA.is_dir():
        assert skipped == []
    # Without the data the tests that need them are skipped, and PyTorch is no reason to skip any.
    assert [reason for reason in skipped if "real data" not in reason] == []
