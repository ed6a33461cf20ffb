"""A small labelled scene, and the real data of the models' tests, as fixtures of the rooms that ask for them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely import box
from shapely.geometry import Polygon

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.chips import BandFiles
from earthsignature_assets.sentinel2 import S2_BANDS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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


GRID = PixelGrid(32633, 600_000.0, 5_300_000.0, 10.0, 160, 128)
FOREST = (300, 500, 250, 700, 2300, 3000, 3200, 3300, 1500, 700)
FIELD = (800, 1000, 1200, 1500, 2200, 2500, 2600, 2700, 3000, 2200)
WATER = (400, 350, 250, 200, 150, 150, 120, 100, 60, 50)


@dataclass
class SmallScene:
    """The left 64 columns are forest, the next 64 field, the last 32 water; the top 8 rows are no data."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        spectra = np.stack([np.array(spectrum) for spectrum in (FOREST, FIELD, WATER)])
        noise = np.random.default_rng(0).normal(0, 20, (10, 128, 160))
        image = spectra[self.kinds].transpose(2, 0, 1) + noise
        image[:, :8] = 0
        for band, values in zip(S2_BANDS, np.maximum(image, 0).astype(np.uint16), strict=True):
            self.write_raster(f"{band}.tif", values)

    @property
    def kinds(self) -> np.ndarray:
        """0 forest, 1 field, 2 water."""
        return np.broadcast_to(np.repeat([0, 1, 2], [64, 64, 32]), (128, 160))

    @property
    def image(self) -> BandFiles:
        return BandFiles(self.folder, "L2A", "small", "Nowhere")

    def area(self, left: int, top: int, right: int, bottom: int) -> Polygon:
        """Pixels of columns left…right and rows top…bottom as a polygon."""
        west, north = GRID.transform @ (left, top)
        east, south = GRID.transform @ (right, bottom)
        return box(west, south, east, north)

    def write_polygons(
        self, name: str, shapes: list[tuple[Any, Any]], crs: Any = GRID.epsg, column: str = "class"
    ) -> Path:
        """Write shapes in the grid's CRS, with their labels, in another CRS."""
        path = self.folder / name
        frame = geopandas.GeoDataFrame(
            {column: [label for _, label in shapes]}, geometry=[shape for shape, _ in shapes], crs=GRID.epsg
        )
        frame.to_crs(crs).to_file(path, engine="pyogrio")
        return path

    def write_raster(self, name: str, values: np.ndarray, **options: Any) -> Path:
        path = self.folder / name
        profile = {
            "driver": "GTiff",
            "height": values.shape[0],
            "width": values.shape[1],
            "count": 1,
            "dtype": values.dtype,
            "crs": GRID.epsg,
            "transform": GRID.transform,
        }
        with rasterio.open(path, "w", **profile | options) as dataset:
            dataset.write(values, 1)
        return path


@pytest.fixture(scope="session")
def new_scene() -> type[SmallScene]:
    return SmallScene


@pytest.fixture
def small_scene(tmp_path: Path) -> SmallScene:
    return SmallScene(tmp_path / "scene")
