"""Spectral signatures of the simulated classes: six typical spectra for each, and the variation between neighbours.

The numbers are derived from real Sentinel-2 pixels; no pixel is kept. Sources, both "contains modified Copernicus
Sentinel data": EuroSAT (Helber et al. 2019, MIT licence), 20 L1C patches for each class, converted to approximate L2A
by subtracting a rough path radiance; and the labelled polygons of the L2A scene
S2B_MSIL2A_20181016T092029_N0209_R093_T34TFR_20181016T143428 near Hațeg, Romania.

`python -m earthsignature_assets.simulator.signatures --data DIR` derives and prints the table; DIR holds
`eurosat_ms_geotorchai` and `s2_hateg_34TFR_20181016`. The readers are separate from those of `recipes`, which no room
may import, and repeat 20 m pixels instead of interpolating them, so that a signature is of measured values.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import geopandas
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.features import geometry_mask

from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator.signature_table import TABLE

Spectra = npt.NDArray[np.float32]

SPECTRA_PER_CLASS = 6

_EUROSAT_FOLDERS = {
    112: "Residential",
    121: "Industrial",
    211: "AnnualCrop",
    222: "PermanentCrop",
    231: "Pasture",
    313: "Forest",
    321: "HerbaceousVegetation",
    512: "SeaLake",
}
_HATEG_LABELS = {211: "agriculture", 231: "pasture", 313: "forest", 512: "water"}
# EuroSAT stores B01…B08, B09…B12, and B8A last.
_EUROSAT_INDEXES = (2, 3, 4, 5, 6, 7, 8, 13, 11, 12)
# Path radiance as reflectance × 10000 at mid-latitudes; B8A lies between B08 (50) and the SWIR (0), by λ⁻⁴.
_PATH_RADIANCE = np.array([550, 300, 170, 130, 90, 70, 50, 45, 0, 0], np.float32)
_PIXEL_CLASSES = (112, 121)
_BLOCK = 4


@dataclass(frozen=True)
class Signature:
    """The surface reflectance × 10000 of one CORINE class, in the order of `S2_BANDS`.

    `spectra` is (6, 10) float32, sorted by rising vegetation index. `axes` is (2, 10) float32: the first two principal
    directions in which pixels differ from their neighbourhood, one standard deviation long.
    """

    code: int
    spectra: Spectra
    axes: Spectra


@cache
def signatures() -> tuple[Signature, ...]:
    """Return the signatures of the package, by rising CORINE code."""
    return tuple(
        Signature(code, np.array(rows[:SPECTRA_PER_CLASS], np.float32), np.array(rows[SPECTRA_PER_CLASS:], np.float32))
        for code, rows in sorted(TABLE.items())
    )


def derive(code: int, data: Path) -> Signature:
    """Derive one class's signature from real data.

    Built-up classes are clustered by pixel, because their materials vary by pixel; the others in blocks of 40 m, so
    that a spectrum is that of a field or a stand. The clustering is k-means on log reflectance.

    Args:
        code: one of the classes of `signatures()`.
        data: the folder of `eurosat_ms_geotorchai` and `s2_hateg_34TFR_20181016`.
    """
    block = 1 if code in _PIXEL_CLASSES else _BLOCK
    patches = _eurosat_patches(code, data / "eurosat_ms_geotorchai")
    count, bands, height, width = patches.shape
    means = patches.reshape(count, bands, height // block, block, width // block, block).mean((3, 5))
    local = means.repeat(block, 2).repeat(block, 3)
    if block == 1:
        local = np.stack([np.stack([cv2.blur(band, (5, 5)) for band in patch]) for patch in patches])
    samples = np.moveaxis(means, 1, -1).reshape(-1, bands)
    kept = _belongs(code, samples)
    inside = kept.reshape(count, height // block, width // block).repeat(block, 1).repeat(block, 2)
    differences = np.moveaxis(patches - local, 1, -1)[inside]
    extremes = np.abs(differences).max(1)
    differences = differences[extremes < np.quantile(extremes, 0.99)]
    lengths, directions = np.linalg.eigh(np.cov(differences.T))
    axes = (directions * np.sqrt(lengths))[:, :-3:-1].T
    axes *= np.sign(axes[:, 6:7])

    samples = samples[kept]
    if code in _HATEG_LABELS:
        samples = np.concatenate([samples, _hateg_pixels(code, data / "s2_hateg_34TFR_20181016")])
    cv2.setRNGSeed(1)
    logarithms = np.log(np.maximum(samples, 20.0)).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-4)
    initial = np.zeros((len(samples), 1), np.int32)
    _, labels, _ = cv2.kmeans(logarithms, SPECTRA_PER_CLASS, initial, stop, 4, cv2.KMEANS_PP_CENTERS)
    spectra = np.stack([samples[labels[:, 0] == cluster].mean(0) for cluster in range(SPECTRA_PER_CLASS)])
    greenness = (spectra[:, 6] - spectra[:, 2]) / (spectra[:, 6] + spectra[:, 2])
    return Signature(code, spectra[np.argsort(greenness)].astype(np.float32), axes.astype(np.float32))


def _eurosat_patches(code: int, folder: Path) -> Spectra:
    name = _EUROSAT_FOLDERS[code]
    patches = []
    for number in range(1, 21):
        with rasterio.open(folder / name / f"{name}_{number}.tif") as dataset:
            patch = dataset.read(_EUROSAT_INDEXES).astype(np.float32) - _PATH_RADIANCE[:, None, None]
        # A patch with more blue than red was taken through haze that the constant path radiance does not remove.
        if code in (231, 313, 512) or patch[0].mean() < 0.95 * patch[2].mean():
            patches.append(patch)
    return np.stack(patches)


def _belongs(code: int, samples: Spectra) -> npt.NDArray[np.bool_]:
    """Mark the samples that show the class itself: patch labels include shores in water and roads in forest."""
    if code == 512:
        return np.asarray((samples[:, 6] < 500) & (samples[:, 8] < 300))
    if code == 313:
        return np.asarray(samples[:, 2] < 450)
    return np.ones(len(samples), bool)


def _hateg_pixels(code: int, folder: Path) -> Spectra:
    """Return labelled pixels, at most as many as the blocks of five EuroSAT patches: (n, 10) float32."""
    bands = []
    for band in S2_BANDS:
        with rasterio.open(folder / "bands" / f"{band}.tif") as dataset:
            values = dataset.read(1).astype(np.float32)
            if dataset.res[0] == 10:
                transform, crs, shape = dataset.transform, dataset.crs, dataset.shape
            else:  # the 20 m grid starts 10 m west of the 10 m grid and ends 10 m south of it
                values = values.repeat(2, 0).repeat(2, 1)[: shape[0], 1 : shape[1] + 1]
        bands.append(values)
    stack = np.stack(bands, axis=-1)
    polygons = geopandas.read_file(folder / "labels" / "train_polys.shp").to_crs(crs)
    polygons = polygons[polygons["class"] == _HATEG_LABELS[code]]
    inside = ~geometry_mask(polygons.geometry, shape, transform)
    pixels = stack[inside]
    wanted = 5 * (64 // _BLOCK) ** 2
    return np.asarray(pixels[:: max(1, len(pixels) // wanted)])


def main() -> None:
    """Print the table as Python source."""
    parser = argparse.ArgumentParser(description="Derive the simulator's spectral signatures from real data.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the two data sets")
    data = parser.parse_args().data
    lines = []
    for code in _EUROSAT_FOLDERS:
        signature = derive(code, data)
        lines.append(f"    {code}: (")
        lines += [f"        ({', '.join(str(round(float(value))) for value in row)})," for row in signature.spectra]
        lines += [f"        ({', '.join(str(round(float(value))) for value in row)})," for row in signature.axes]
        lines.append("    ),")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
