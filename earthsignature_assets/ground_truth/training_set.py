"""A training set on disk: labelled chips of images with their split, provenance and remarks on unused labels.

    <folder>/set.zarr          reflectance uint16 (sample, band, y, x), × 10000, 0 = no data
                               codes, also uint16 and levels uint8 (sample, y, x): see `TruthRaster`, 0 = void
    <folder>/samples.parquet   GeoParquet, one row a sample: footprint (EPSG:4326), cell, split, place in its image
    <folder>/report.json       class balance, remarks, provenance
    <folder>/item.json         a STAC item with the label extension

A set appears whole or not at all; the same recipe and data give the same set.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import zarr
from pyproj import Transformer
from shapely import box, transform
from zarr.codecs import BloscCodec

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.truth_raster import TruthRaster
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.system.atomic import whole_folder

ZARR, SAMPLES, REPORT, ITEM = "set.zarr", "samples.parquet", "report.json", "item.json"
_BITSHUFFLED_ZSTD = BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")

Read = Callable[[], npt.NDArray[np.uint16]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Chip:
    """A labelled piece of an image, not yet written.

    `read` returns its reflectance, (10, height, width) uint16 × 10000, on demand, because the chips of a tile exceed
    memory. `truth` is on the same pixels. `affine` holds the six coefficients of the affine transform to the CRS of the
    EPSG code `epsg`. `region` comes from the recipe, `label` from the source.
    """

    name: str
    image: str
    level: str
    region: str
    label: str
    row: int
    column: int
    epsg: int
    affine: tuple[float, float, float, float, float, float]
    truth: TruthRaster
    read: Read

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, in degrees."""
        point = self.footprint.centroid
        return float(point.x), float(point.y)

    @cached_property
    def footprint(self) -> Any:
        """The outline in EPSG:4326."""
        height, width = self.truth.codes.shape
        a, _, left, _, e, top = self.affine
        outline = box(left, top + height * e, left + width * a, top)
        project = Transformer.from_crs(self.epsg, 4326, always_xy=True).transform
        return transform(outline, lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1])))


class TrainingSet:
    """A written training set."""

    def __init__(self, folder: Path) -> None:
        """Open a set.

        Raises:
            GroundTruthError: the folder does not hold a complete set.
        """
        self.folder = folder
        try:
            self.samples = geopandas.read_parquet(folder / SAMPLES)
            self.report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            self._group = zarr.open_group(folder / ZARR, mode="r")
        except (OSError, ValueError) as error:
            raise GroundTruthError(f"there is no training set in {folder}: {error}") from error

    @property
    def identity(self) -> str:
        """SHA-256 over names, places, labels and splits: equal sets have equal identities."""
        return str(self.report["identity"])

    def __len__(self) -> int:
        return len(self.samples)

    def numbers(self, split: Split | None = None) -> list[int]:
        """Return the numbers of the samples of a split, or of all samples."""
        if split is None:
            return list(range(len(self)))
        return [int(number) for number in np.flatnonzero(self.samples["split"] == str(split))]

    def reflectance(self, number: int) -> npt.NDArray[np.uint16]:
        """Read the image of a sample: (10, height, width) uint16 × 10000, 0 = no data."""
        rows, columns = self._extent(number)
        return np.asarray(self._array("reflectance")[number, :, rows, columns], np.uint16)

    def truth(self, number: int) -> TruthRaster:
        """Read the ground truth of a sample."""
        rows, columns = self._extent(number)
        codes, levels, also = (self._array(name)[number, rows, columns] for name in ("codes", "levels", "also"))
        return TruthRaster(np.asarray(codes, np.uint16), np.asarray(levels, np.uint8), np.asarray(also, np.uint16))

    def sample(self, number: int) -> Sample:
        """Read a sample for training, without the levels; `also` holds the commonest second meaning of a code."""
        row, truth = self.samples.iloc[number], self.truth(number)
        second = {
            int(code): int(np.bincount(truth.also[where]).argmax())
            for code in np.unique(truth.codes[truth.also > 0])
            if (where := (truth.codes == code) & (truth.also > 0)).any()
        }
        return Sample(
            name=row["name"],
            source=row["image"],
            level=row["level"],
            label=row["label"],
            reflectance=self.reflectance(number),
            codes=truth.codes,
            longitude=float(row.geometry.centroid.x),
            latitude=float(row.geometry.centroid.y),
            also=second,
        )

    def _extent(self, number: int) -> tuple[slice, slice]:
        row = self.samples.iloc[number]
        return slice(0, int(row["height"])), slice(0, int(row["width"]))

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)  # noqa: S101 - narrows the type
        return array


def write_training_set(
    folder: Path,
    chips: list[Chip],
    cells: list[str],
    splits: list[Split],
    report: dict[str, Any],
    item: Callable[[geopandas.GeoDataFrame, dict[str, Any]], dict[str, Any]],
    progress: Progress | None = None,
) -> TrainingSet:
    """Write a set to a temporary folder and publish it by one rename; an existing set is replaced.

    Args:
        folder: the folder of the set.
        chips: the chips, at least one.
        cells: the cell of each chip.
        splits: the split of each chip.
        report: content of `report.json`; the identity is added.
        item: creates the STAC item from the frame of the samples and the report.
        progress: called with the number of chips done and the total.

    Raises:
        GroundTruthError: there is no chip, or an image cannot be read.
    """
    if not chips:
        raise GroundTruthError("no chip holds a labelled pixel: a training set would be empty")
    frame = _frame(chips, cells, splits)
    report = report | {"identity": _identity(frame, chips)}
    with whole_folder(folder) as staged:
        _write_zarr(staged / ZARR, chips, progress)
        frame.to_parquet(staged / SAMPLES, schema_version="1.1.0", write_covering_bbox=True, compression="zstd")
        for name, content in ((REPORT, report), (ITEM, item(frame, report))):
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            (staged / name).write_text(text, encoding="utf-8")
    return TrainingSet(folder)


def _frame(chips: list[Chip], cells: list[str], splits: list[Split]) -> geopandas.GeoDataFrame:
    rows = [
        {
            "name": chip.name,
            "image": chip.image,
            "level": chip.level,
            "region": chip.region,
            "label": chip.label,
            "cell": cell,
            "split": str(split),
            "row": chip.row,
            "column": chip.column,
            "height": chip.truth.codes.shape[0],
            "width": chip.truth.codes.shape[1],
            "epsg": chip.epsg,
            "transform": list(chip.affine),
            "labelled_pixels": int(np.count_nonzero(chip.truth.codes)),
        }
        for chip, cell, split in zip(chips, cells, splits, strict=True)
    ]
    return geopandas.GeoDataFrame(rows, geometry=[chip.footprint for chip in chips], crs=4326)


def _identity(frame: geopandas.GeoDataFrame, chips: list[Chip]) -> str:
    digest = hashlib.sha256()
    for row, chip in zip(frame.itertuples(), chips, strict=True):
        digest.update(f"{row.name}|{row.level}|{row.split}|{row.epsg}|{row.transform}\n".encode())
        for part in (chip.truth.codes, chip.truth.levels, chip.truth.also):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _write_zarr(path: Path, chips: list[Chip], progress: Progress | None) -> None:
    height = max(chip.truth.codes.shape[0] for chip in chips)
    width = max(chip.truth.codes.shape[1] for chip in chips)
    group = zarr.open_group(path, mode="w", attributes={"bands": list(S2_BANDS)})
    reflectance = group.create_array(
        "reflectance",
        shape=(len(chips), len(S2_BANDS), height, width),
        chunks=(1, len(S2_BANDS), height, width),
        dtype="uint16",
        fill_value=0,
        compressors=_BITSHUFFLED_ZSTD,
        dimension_names=("sample", "band", "y", "x"),
    )
    truth = {
        name: group.create_array(
            name,
            shape=(len(chips), height, width),
            chunks=(1, height, width),
            dtype=dtype,
            fill_value=0,
            compressors=_BITSHUFFLED_ZSTD,
            dimension_names=("sample", "y", "x"),
        )
        for name, dtype in (("codes", "uint16"), ("levels", "uint8"), ("also", "uint16"))
    }
    for number, chip in enumerate(chips):
        rows, columns = (slice(0, length) for length in chip.truth.codes.shape)
        reflectance[number, :, rows, columns] = chip.read()
        for name, array in truth.items():
            array[number, rows, columns] = getattr(chip.truth, name)
        if progress:
            progress(number + 1, len(chips))
