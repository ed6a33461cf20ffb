"""Data of the shipped model: EuroSAT patches (one label each, level-1C) and the polygons of the Hațeg scene (level-2A).

A pixel of unknown class is void (0): it takes part in no loss and in no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import rasterio
from pyogrio.errors import DataSourceError
from rasterio.errors import RasterioIOError
from rasterio.features import rasterize
from rasterio.warp import transform

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.chips import BandFiles
from earthsignature_assets.ground_truth.samples import VOID, Sample
from earthsignature_assets.ground_truth.training_set_recipe import EUROSAT_BANDS
from earthsignature_assets.models.repository import PredictedClass

CLASSES = (
    PredictedClass(112, 2, "urban fabric, for 111 and 112: EuroSAT Residential"),
    PredictedClass(
        121, 2, "industrial, commercial and transport units, for 12x: EuroSAT Industrial, Hațeg construction"
    ),
    PredictedClass(211, 2, "annual crops: EuroSAT AnnualCrop, Hațeg agriculture"),
    PredictedClass(222, 2, "permanent crops, for vineyards, orchards and olive groves: EuroSAT PermanentCrop"),
    PredictedClass(231, 3, "pasture: EuroSAT Pasture, Hațeg pasture"),
    PredictedClass(313, 2, "forest, for 311, 312 and 313: EuroSAT Forest, Hațeg forest"),
    PredictedClass(321, 2, "herbaceous or shrubby semi-natural vegetation, for 32x: EuroSAT HerbaceousVegetation"),
    PredictedClass(
        512, 1, "water, for 5xx (river, lake and sea are not told apart): EuroSAT River and SeaLake, Hațeg water"
    ),
)
"""The classes that the ground truth supports, in the order of the class index."""

CLASS_CODES = tuple(entry.code for entry in CLASSES)
"""The codes of `CLASSES` in the order of the class index."""


EUROSAT_CODES = {
    "AnnualCrop": 211,
    "Forest": 313,
    "HerbaceousVegetation": 321,
    "Highway": VOID,  # a road is a few pixels of a patch: 122 cannot be learnt from a label of the whole patch
    "Industrial": 121,
    "Pasture": 231,
    "PermanentCrop": 222,
    "Residential": 112,
    "River": 512,
    "SeaLake": 512,
}
"""CORINE code of a EuroSAT label; void where the label does not describe the whole patch."""

HATEG_CODES = {"agriculture": 211, "construction": 121, "forest": 313, "pasture": 231, "water": 512}
"""CORINE code of a label of the Hațeg polygons. In the image, `construction` means large halls and two stretches of
motorway and main road: level-2 class 12.
"""

HATEG_ALSO = {121: 112, 231: 321}
"""Second meaning of a code of the Hațeg labels; training accepts either.

The labels mean built-up or pasture, not a level-2 class of CORINE; and Hațeg, the only level-2A scene, must not teach
that level-2A means industry and never housing. In figures on Hațeg both codes count as one class.
"""


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """A level-2A scene with labelled polygons, on the scene's 10 m grid.

    `reflectance` is (10, height, width) uint16 × 10000, 0 = no data. `polygons` is (height, width) uint16: the number
    1…N of the polygon over a pixel's centre, in the order of the file, 0 = none. `labels` and `codes_of` hold the label
    and the CORINE code of polygon 1…N at position 0…N-1.
    """

    name: str
    reflectance: npt.NDArray[np.uint16]
    polygons: npt.NDArray[np.uint16]
    labels: tuple[str, ...]
    codes_of: tuple[int, ...]
    longitude: float
    latitude: float

    def codes(self, numbers: Sequence[int]) -> npt.NDArray[np.uint16]:
        """Return the CORINE codes of these polygons, (height, width) uint16; void elsewhere."""
        table = np.zeros(len(self.labels) + 1, np.uint16)
        for number in numbers:
            table[number] = self.codes_of[number - 1]
        return table[self.polygons]

    def without(self, numbers: Sequence[int]) -> npt.NDArray[np.uint16]:
        """Return the reflectance with the pixels of these polygons set to no data."""
        return np.where(np.isin(self.polygons, numbers), np.uint16(0), self.reflectance)


def read_eurosat(folder: Path) -> list[Sample]:
    """Read EuroSAT patches: 13-band GeoTIFFs in one folder a label.

    Every pixel gets the code of the patch's label; `teacher.refine` removes it where it does not apply.

    Raises:
        GroundTruthError: the folder holds no patch, or a patch lacks bands or georeference.
    """
    samples = []
    for label, code in sorted(EUROSAT_CODES.items()):
        for path in sorted((folder / label).glob("*.tif")):
            try:
                with rasterio.open(path) as dataset:
                    if dataset.count != 13 or dataset.crs is None:
                        raise GroundTruthError(f"{path}: expected 13 bands with a CRS, found {dataset.count}")
                    reflectance = dataset.read(EUROSAT_BANDS).astype(np.uint16)
                    centre = dataset.transform @ (dataset.width / 2, dataset.height / 2)
                    longitude, latitude = _lonlat(dataset.crs, *centre)
            except RasterioIOError as error:
                raise GroundTruthError(f"{path} cannot be read: {error}") from error
            codes = np.full(reflectance.shape[1:], code, np.uint16)
            samples.append(Sample(path.stem, "EuroSAT", "L1C", label, reflectance, codes, longitude, latitude))
    if not samples:
        raise GroundTruthError(f"{folder} holds no EuroSAT patch: expected <label>/<name>.tif")
    return samples


def read_hateg(folder: Path) -> LabelledScene:
    """Read the Hațeg scene: ten bands in `bands/`, polygons with a field `class` in `labels/`.

    The 20 m bands, whose grid starts 10 m west and south of the 10 m one, are resampled bilinearly.

    Raises:
        GroundTruthError: a band or the polygons are missing, or a label has no CORINE code.
    """
    image = BandFiles(folder / "bands", "L2A", folder.name)
    grid = image.grid
    reflectance = image.load(0, grid.height)
    try:
        frame = geopandas.read_file(folder / "labels" / "train_polys.shp").to_crs(grid.crs)
    except (DataSourceError, OSError) as error:
        raise GroundTruthError(f"{folder} cannot be read: {error}") from error
    labels = tuple(str(label) for label in frame["class"])
    unknown = sorted(set(labels) - set(HATEG_CODES))
    if unknown:
        raise GroundTruthError(f"{folder}: no CORINE code for the label(s) {', '.join(unknown)}")
    polygons = rasterize(
        zip(frame.geometry, range(1, len(labels) + 1), strict=True),
        out_shape=grid.shape,
        transform=grid.transform,
        dtype=np.uint16,
    )
    longitude, latitude = _lonlat(grid.crs.to_wkt(), *(grid.transform @ (grid.width / 2, grid.height / 2)))
    codes_of = tuple(HATEG_CODES[label] for label in labels)
    return LabelledScene(folder.name, reflectance, polygons, labels, codes_of, longitude, latitude)


def _lonlat(crs: Any, x: float, y: float) -> tuple[float, float]:
    longitudes, latitudes = transform(crs, "EPSG:4326", [x], [y])
    return longitudes[0], latitudes[0]


def polygon_samples(
    scene: LabelledScene, training: Sequence[int], margin: int = 24, covers: npt.NDArray[np.float32] | None = None
) -> list[Sample]:
    """Cut one sample around every training polygon, `margin` pixels wider than the polygon.

    Only the training polygons are labelled, and the pixels of all others are set to no data, so that training sees
    nothing of the held-out polygons. `covers` are a teacher's probabilities on the scene, (covers, height, width).
    """
    others = [number for number in range(1, len(scene.labels) + 1) if number not in set(training)]
    reflectance, codes = scene.without(others), scene.codes(training)
    samples = []
    for number in training:
        rows, columns = np.nonzero(scene.polygons == number)
        if not rows.size:
            continue
        window = (
            slice(max(0, int(rows.min()) - margin), int(rows.max()) + margin + 1),
            slice(max(0, int(columns.min()) - margin), int(columns.max()) + margin + 1),
        )
        samples.append(
            Sample(
                name=f"{scene.name}/{number}",
                source="Hațeg",
                level="L2A",
                label=scene.labels[number - 1],
                reflectance=reflectance[:, *window],
                codes=codes[window],
                longitude=scene.longitude,
                latitude=scene.latitude,
                also=HATEG_ALSO,
                covers=None if covers is None else covers[:, *window],
            )
        )
    return samples
