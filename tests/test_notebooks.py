"""Every notebook of the guides runs, and draws its pictures."""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.nomenclature import class_of

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))
# In a process of its own: the kernel's sockets and threads are none of the test's.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=sys.argv[3])
nbformat.write(notebook, sys.argv[2])
"""


def _pictures(notebook: nbformat.NotebookNode) -> list[np.ndarray]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    encoded = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")) for picture in encoded]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS])
def test_a_notebook_runs_and_draws(path: Path, deployment: Any, tmp_path: Path) -> None:
    with service_process(deployment.workspace.store.root, tmp_path / "service.log") as address:
        done = subprocess.run(
            [sys.executable, "-c", EXECUTE, str(path), str(tmp_path / "done.ipynb"), str(tmp_path)],
            env=os.environ | {"EARTHSIGNATURE_TARGET": address, "IPYTHONDIR": str(tmp_path), "MPLBACKEND": ""},
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    pictures = _pictures(nbformat.read(tmp_path / "done.ipynb", as_version=4))
    assert len(pictures) == 2
    seen = {tuple(colour) for colour in np.unique(pictures[0].reshape(-1, 3), axis=0).tolist()}
    assert sum(class_of(code).rgb in seen for code in deployment.product.class_codes) >= 3


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS])
def test_a_notebook_is_kept_with_small_outputs(path: Path) -> None:
    assert path.stat().st_size < 300_000
    assert len(_pictures(nbformat.read(path, as_version=4))) == 2


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
