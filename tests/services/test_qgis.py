"""What a person sees who drags a product's raster into QGIS, which the system's own Python brings (`python3-qgis`)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.nomenclature import CLASSES
from earthsignature_assets.products.rasters.cog import write_land_cover

pytestmark = pytest.mark.services

PYTHON = "/usr/bin/python3"
LOOK = """
import json, sys
from qgis.core import Qgis, QgsApplication, QgsMapRendererSequentialJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QSize

application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "land cover")
legend = [(label, colour.name()) for label, colour in layer.renderer().legendSymbologyItems()]
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setExtent(layer.extent())
settings.setOutputSize(QSize(layer.width(), layer.height()))
job = QgsMapRendererSequentialJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(sys.argv[2])
print(json.dumps({"version": Qgis.QGIS_VERSION, "renderer": layer.renderer().type(), "legend": legend}))
"""


@pytest.fixture(scope="module")
def qgis() -> str:
    present = (
        shutil.which(PYTHON)
        and not subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode
    )
    if not present:
        pytest.skip("QGIS is not installed: apt-get install --no-install-recommends python3-qgis qgis-providers")
    return PYTHON


def test_names_and_colours_come_up_by_themselves(qgis: str, tmp_path: Path) -> None:
    codes = np.zeros((60, 90), np.uint16)
    codes[:, 30:60] = 312
    codes[:, 60:] = 512
    grid = PixelGrid(32632, 699_960.0, 5_300_040.0, 10.0, 90, 60)
    write_land_cover(tmp_path / "land_cover.tif", codes, grid)
    seen = subprocess.run(
        [qgis, "-c", LOOK, str(tmp_path / "land_cover.tif"), str(tmp_path / "seen.png")],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    facts = json.loads(seen.stdout.splitlines()[-1])
    assert facts["renderer"] == "paletted"
    assert facts["legend"] == [[f"{entry.code} {entry.name}", entry.hex_colour] for entry in CLASSES]
    with Image.open(tmp_path / "seen.png") as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[30, 10, 3] == 0 or (pixels[30, 10, :3] == 255).all()  # no data is not painted
    assert tuple(pixels[30, 45, :3]) == (0, 166, 0)
    assert tuple(pixels[30, 75, :3]) == (128, 242, 230)
