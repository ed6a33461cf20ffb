"""Ground truth for the models: labelled samples with a CORINE code per pixel, and how they are split by space.

Two sources: EuroSAT patches (one label a patch, level-1C) and the labelled polygons of the Hațeg scene
(level-2A). A pixel whose class is unknown is void, 0, and takes part in no loss and no figure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.models.repository import PredictedClass
from earthsignature_assets.sentinel2 import S2_BANDS

VOID = 0
"""The code of a pixel whose class is unknown."""

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
"""The classes that this ground truth supports, in the order of the class index."""

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
"""What a EuroSAT label says as a CORINE code; void where the label names no class that covers the patch."""

HATEG_CODES = {"agriculture": 211, "construction": 121, "forest": 313, "pasture": 231, "water": 512}
"""What a label of the Hațeg polygons says as a CORINE code. Seen in the image, `construction` are large halls and
two stretches of motorway and main road: level-2 class 12.
"""

HATEG_ALSO = {121: 112, 231: 321}
"""What a code of the Hațeg labels may mean as well, so that training is right with either.

The labels say built or pasture, not the level-2 class of CORINE; and Hațeg, the only level-2A scene, must not teach
that level-2A means industry and never housing. Both codes are one class wherever the Hațeg labels judge.
"""

_EUROSAT_BANDS = (2, 3, 4, 5, 6, 7, 8, 13, 11, 12)  # B8A is the last of the 13 (phelber/EuroSAT issue 7)


@dataclass(frozen=True, eq=False)
class Sample:
    """A labelled piece of an image.

    `reflectance` is (10, height, width) uint16, × 10000, bands in the order of `S2_BANDS`, 0 = no data;
    `codes` is (height, width) uint16, CORINE level-3 codes, 0 = void. `level` is "L1C" (top of atmosphere) or
    "L2A" (surface). `label` is the source's own word. `also` gives, for a code, a second one that the label may mean.
    `weak`, (height, width) uint64, is the set of classes that a void pixel may be by a teacher's word, as
    `allowed_classes` writes it, 0 where it says nothing; it takes part in the loss and in no figure. `covers`,
    (covers, height, width) float32, is how probable the teacher holds each cover, for a side task of the network.
    `soft_labels`, (classes, height, width) float32, is how probable other networks hold each class (`distillation`).
    """

    name: str
    source: str
    level: str
    label: str
    reflectance: npt.NDArray[np.uint16]
    codes: npt.NDArray[np.uint16]
    longitude: float
    latitude: float
    also: Mapping[int, int] = field(default_factory=dict)
    weak: npt.NDArray[np.uint64] | None = None
    covers: npt.NDArray[np.float32] | None = None
    soft_labels: npt.NDArray[np.float32] | None = None

    def with_codes(self, codes: npt.NDArray[np.uint16]) -> "Sample":
        """The same image with other labels."""
        return replace(self, codes=codes)


CLASS_CODES = tuple(entry.code for entry in CLASSES)
"""The codes of `CLASSES` in the order of the class index."""


def class_set(*codes: int, among: Sequence[int] = CLASS_CODES) -> int:
    """A set of codes as a number: bit k stands for the k-th class of `among`; other codes are left out."""
    return sum(1 << among.index(code) for code in set(codes) if code in among)


def allowed_classes(sample: Sample, among: Sequence[int] = CLASS_CODES) -> npt.NDArray[np.uint64]:
    """Return the set of classes that each pixel may be, (height, width) uint64 of `class_set`; 0 is void."""
    allowed = np.zeros(sample.codes.shape, np.uint64) if sample.weak is None else sample.weak.astype(np.uint64)
    for code in np.unique(sample.codes[sample.codes != VOID]):
        allowed[sample.codes == code] = class_set(int(code), sample.also.get(int(code), int(code)), among=among)
    return allowed


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """A level-2A scene with labelled polygons, on the scene's 10 m grid.

    `reflectance` is (10, height, width) uint16 × 10000, 0 = no data. `polygons` is (height, width) uint16: the
    number of the polygon that covers a pixel's centre, 1…N in the order of the file, 0 = none. `labels` and
    `codes_of` give the word and the CORINE code of polygon 1…N at position 0…N-1.
    """

    name: str
    reflectance: npt.NDArray[np.uint16]
    polygons: npt.NDArray[np.uint16]
    labels: tuple[str, ...]
    codes_of: tuple[int, ...]
    longitude: float
    latitude: float

    def codes(self, numbers: Sequence[int]) -> npt.NDArray[np.uint16]:
        """CORINE codes, (height, width) uint16, of these polygons alone; void elsewhere."""
        table = np.zeros(len(self.labels) + 1, np.uint16)
        for number in numbers:
            table[number] = self.codes_of[number - 1]
        return table[self.polygons]

    def without(self, numbers: Sequence[int]) -> npt.NDArray[np.uint16]:
        """The reflectance with the pixels of these polygons blanked to no data."""
        return np.where(np.isin(self.polygons, numbers), np.uint16(0), self.reflectance)


def read_eurosat(folder: Path) -> list[Sample]:
    """Read EuroSAT patches: 13-band GeoTIFFs in one folder a label.

    Every pixel gets the patch's code; `teacher.refine` then takes back what does not deserve it.

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
                    reflectance = dataset.read(_EUROSAT_BANDS).astype(np.uint16)
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
    bands = []
    try:
        with rasterio.open(folder / "bands" / "B02.tif") as reference:
            grid: dict[str, Any] = {
                "crs": reference.crs,
                "transform": reference.transform,
                "width": reference.width,
                "height": reference.height,
            }
        for band in S2_BANDS:
            with (
                rasterio.open(folder / "bands" / f"{band}.tif") as source,
                WarpedVRT(source, resampling=Resampling.bilinear, **grid) as warped,
            ):
                values = warped.read(1)
            bands.append(np.clip(values, 0, None).astype(np.uint16))
        frame = geopandas.read_file(folder / "labels" / "train_polys.shp").to_crs(grid["crs"])
    except (RasterioIOError, OSError) as error:
        raise GroundTruthError(f"{folder} cannot be read: {error}") from error
    labels = tuple(str(label) for label in frame["class"])
    unknown = sorted(set(labels) - set(HATEG_CODES))
    if unknown:
        raise GroundTruthError(f"{folder}: no CORINE code for the label(s) {', '.join(unknown)}")
    polygons = rasterize(
        zip(frame.geometry, range(1, len(labels) + 1), strict=True),
        out_shape=(grid["height"], grid["width"]),
        transform=grid["transform"],
        dtype=np.uint16,
    )
    longitude, latitude = _lonlat(grid["crs"], *(grid["transform"] @ (grid["width"] / 2, grid["height"] / 2)))
    codes_of = tuple(HATEG_CODES[label] for label in labels)
    return LabelledScene(folder.name, np.stack(bands), polygons, labels, codes_of, longitude, latitude)


def split_polygons(labels: Sequence[str], seed: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split polygons into two thirds for training and one third held out, class by class.

    Returns:
        The numbers (1…N) of the training polygons and of those held out; every class with at least two polygons
        is in both. Deterministic for one seed, whatever the process.
    """
    generator = np.random.default_rng(seed)
    held_out: list[int] = []
    for label in sorted(set(labels)):
        members = [number for number, other in enumerate(labels, 1) if other == label]
        shuffled = generator.permutation(members)
        held_out.extend(int(number) for number in shuffled[: round(len(members) / 3)])
    training = tuple(number for number in range(1, len(labels) + 1) if number not in set(held_out))
    return training, tuple(sorted(held_out))


def polygon_folds(labels: Sequence[str], folds: int, seed: int = 0) -> tuple[int, ...]:
    """Return the fold, 0…folds-1, of polygon 1…N at position 0…N-1: every label dealt out in turn.

    Deterministic for one seed, whatever the process.
    """
    generator = np.random.default_rng(seed)
    order: list[int] = []
    for label in sorted(set(labels)):
        members = [position for position, other in enumerate(labels) if other == label]
        order.extend(int(position) for position in generator.permutation(members))
    # One hand after another, so that folds are as even in all as in each label.
    fold_of = {position: dealt % folds for dealt, position in enumerate(order)}
    return tuple(fold_of[position] for position in range(len(labels)))


def spatial_folds(samples: Sequence[Sample], folds: int, apart_km: float = 50.0) -> list[int]:
    """Return the fold, 0…folds-1, of every sample, so that near samples share a fold.

    Samples closer than `apart_km` are chained into one group; groups, the largest first, go to the fold that they
    unbalance least by label.
    """
    groups = _groups(samples, apart_km)
    chosen: dict[int, int] = {}
    loads: list[Counter[str]] = [Counter() for _ in range(folds)]
    for group in sorted(set(groups), key=lambda group: (-groups.count(group), group)):
        content = Counter(sample.label for sample, other in zip(samples, groups, strict=True) if other == group)
        costs = [
            sum((load[label] + count) ** 2 - load[label] ** 2 for label, count in content.items()) for load in loads
        ]
        best = min(range(folds), key=lambda fold: (costs[fold], loads[fold].total(), fold))
        chosen[group] = best
        loads[best].update(content)
    return [chosen[group] for group in groups]


def _groups(samples: Sequence[Sample], apart_km: float) -> list[int]:
    """Chain near samples: the number of the group of every sample (single linkage on the sphere)."""
    longitudes = np.radians([sample.longitude for sample in samples])
    latitudes = np.radians([sample.latitude for sample in samples])
    towards = np.stack(
        [np.cos(latitudes) * np.cos(longitudes), np.cos(latitudes) * np.sin(longitudes), np.sin(latitudes)], axis=1
    )
    near = 6371.0 * np.linalg.norm(towards[:, None] - towards[None], axis=-1) < apart_km
    group = np.arange(len(samples))
    while True:
        joined = np.where(near, group[None], len(samples)).min(axis=1)
        if (joined == group).all():
            return [int(number) for number in group]
        group = joined


def _lonlat(crs: Any, x: float, y: float) -> tuple[float, float]:
    longitudes, latitudes = transform(crs, "EPSG:4326", [x], [y])
    return longitudes[0], latitudes[0]


def polygon_samples(
    scene: LabelledScene, training: Sequence[int], margin: int = 24, covers: npt.NDArray[np.float32] | None = None
) -> list[Sample]:
    """Cut one sample around every training polygon, `margin` pixels wider than the polygon.

    Labels are those of the training polygons alone, and the pixels of all others are blanked to no data: training
    sees nothing of the polygons that are held out. `covers` are a teacher's on the scene, (covers, height, width).
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
