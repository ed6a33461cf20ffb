"""A disk that is really full: a file system of 64 KB in a separate mount namespace."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRITERS = """
import json, sys
from pathlib import Path
import numpy as np
from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.polygons.polygon_export import ExportFormat, export_polygons
from earthsignature_assets.products.polygons.geoparquet import write_geoparquet
from earthsignature_assets.products.polygons.generalisation import Generalisation, land_cover_polygons
from earthsignature_assets.products.rasters.cog import write_confidence, write_land_cover
from earthsignature_assets.products.rasters.thumbnail import write_thumbnail

full, roomy = map(Path, sys.argv[1:])
grid = PixelGrid(32632, 699_960.0, 4_700_040.0, 10.0, 500, 500)
codes = np.random.default_rng(0).choice(np.array([111, 311, 512], np.uint16), grid.shape)
percent = (codes % 101).astype(np.uint8)
layer = land_cover_polygons(
    codes, percent, grid, "S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516",
    ModelVersion("corine-unet", 1),
    Generalisation(300.0, 0.0),
).layer
write_geoparquet(layer, roomy / "polygons.parquet")
polygons = (roomy / "polygons.parquet").read_bytes()
writers = {
    "land_cover.tif": lambda path: write_land_cover(path, codes, grid),
    "confidence.tif": lambda path: write_confidence(path, percent, codes > 0, grid),
    "thumbnail.png": lambda path: write_thumbnail(path, codes),
    "polygons.parquet": lambda path: write_geoparquet(layer, path),
} | {
    f"export{form.suffix}": lambda path, form=form: export_polygons(polygons, path, form)
    for form in ExportFormat if form is not ExportFormat.PMTILES  # the same code, in a minute
}
messages = {}
for name, write in writers.items():
    path = full / name
    path.write_bytes(b"earlier")
    try:
        write(path)
        messages[name] = "written"
    except StoreUnavailableError as error:
        messages[name] = str(error)
    left = {entry.name: entry.read_bytes() == b"earlier" for entry in full.iterdir()}
    if left != {name: True}:
        messages[name] += f"; left {left}"
    for entry in full.iterdir():
        entry.unlink()
print(json.dumps(messages))
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The message of each writer that runs out of disk space."""
    unshare = shutil.which("unshare")
    folder = tmp_path_factory.mktemp("disk")
    full, roomy = folder / "full", folder / "roomy"
    full.mkdir()
    roomy.mkdir()
    mount = 'mount -t tmpfs -o size=64k tmpfs "$1"'
    if (
        unshare is None
        or subprocess.run(
            [unshare, "-m", "sh", "-c", mount, "sh", str(full)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this user may not mount a small file system")
    command = [unshare, "-m", "sh", "-c", f'{mount} && exec "$0" -c "$3" "$1" "$2"', sys.executable]
    done = subprocess.run([*command, str(full), str(roomy), WRITERS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_every_writer_names_the_file_and_the_remedy(messages: dict[str, str]) -> None:
    assert len(messages) > 6
    for name, message in messages.items():
        assert Path(message.split(" cannot be written: ")[0]).name == name, message
        assert "check that the disk has room" in message


def test_nothing_partial_stays_and_nothing_earlier_goes(messages: dict[str, str]) -> None:
    assert not [message for message in messages.values() if "; left {" in message]
