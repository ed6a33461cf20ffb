"""Training tiles: mosaics of samples with borders of natural shape, under a random atmosphere.

Samples may be level-1C while operation is level-2A. Each level-1C sample loses a random share of the path radiance that
its darkest pixels allow; then every tile, of either level, gets random gains and offsets per band, wide enough to cover
both levels. All random numbers come from one generator.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import GroundTruthError
from earthsignature_assets.ground_truth.samples import VOID, Sample, allowed_classes
from earthsignature_assets.models.input_range import InputRange, input_range

Reflectance = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Sets = npt.NDArray[np.uint64]
Weights = npt.NDArray[np.float32]

PATH_RADIANCE = np.array([550, 300, 170, 130, 90, 70, 50, 40, 0, 0], np.float32)
"""Typical path radiance of the ten bands, reflectance × 10000.

With these values added, Dynamic World, which expects level-1C, classifies 82 % instead of 35 % of the labelled pixels
of a level-2A scene correctly: they approximate the effect of the atmospheric correction. B8A is interpolated between
B08 and B11.
"""

_SENESCENCE = np.log(np.array([1.1, 1.25, 2.2, 1.7, 0.85, 0.78, 0.85, 0.8, 1.6, 2.1], np.float32))
"""Logarithms of the factors of the reflectance of green plants as they senesce.

Less chlorophyll absorbs less in the visible, red most, and at the red edge; less water absorbs less in the short-wave
infrared; thinner leaves scatter less in the near infrared (Gitelson & Merzlyak 1994, *J. Plant Physiol.* 143:286).
The sizes are the rounded ratios of October forest to summer forest in labelled Sentinel-2 pixels.
"""

WEAK_WEIGHT = 0.5
"""Weight of a pixel that only the teacher has labelled."""

_REGIONS = (1, 1, 2, 3, 3, 4, 5)
_HIGHEST_WEIGHT = 8.0
_SWATH_EDGE_SHARE = 0.08


@dataclass(frozen=True)
class Atmosphere:
    """Spread of the reflectance of training tiles: standard deviations of one draw a tile.

    `gain` and `band_gain` are those of the logarithm of a factor, for all bands together and for each band;
    `path_radiance` is in units of `PATH_RADIANCE`; `offset` of each band in reflectance × 10000. `steady_noise`
    (× 10000) and `relative_noise` apply to each pixel. `uncorrected` is the share of samples that keep 40 to 100 % of
    their path radiance, so that the network classifies an image alike at either level.
    """

    gain: float = 0.14
    band_gain: float = 0.06
    path_radiance: float = 0.25
    offset: float = 25.0
    steady_noise: float = 8.0
    relative_noise: float = 0.015
    uncorrected: float = 0.25


@dataclass(frozen=True, eq=False)
class Tile:
    """One training tile of `side` × `side` pixels.

    Attributes:
        reflectance: (10, side, side) float32 × 10000, 0 = no data.
        codes: the code of each labelled pixel, (side, side) uint16, 0 = void.
        allowed: classes that a pixel may have, (side, side) uint64, see `allowed_classes`.
        weights: weights in the loss, (side, side) float32. They make up for a region's void pixels, up to
            `_HIGHEST_WEIGHT` times, so that a polygon of a hundred pixels counts as much as a fully labelled patch.
            Pixels that only the teacher has labelled weigh `WEAK_WEIGHT`.
        covers: a teacher's probabilities of covers, (covers, side, side) float32, 0 where it is silent.
        soft_labels: other networks' probabilities of classes, (classes, side, side) float32, 0 where there are none.
    """

    reflectance: Reflectance
    codes: Codes
    allowed: Sets
    weights: Weights
    covers: Weights
    soft_labels: Weights


class TileMaker:
    """Maker of training tiles with balanced classes."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[int],
        side: int,
        generator: np.random.Generator,
        atmosphere: Atmosphere = Atmosphere(),
        season: float = 0.0,
        covers: int = 0,
    ) -> None:
        """Group the samples by class and source.

        Args:
            samples: labelled samples of any size.
            classes: the codes that the bits of a tile's `allowed` stand for, at most 64.
            side: height and width of a tile in pixels.
            generator: the source of all random numbers.
            atmosphere: spread of the reflectance of tiles.
            season: share of samples that are shown in another season, 0…1.
            covers: number of covers of the teacher; 0 leaves them out.

        Raises:
            GroundTruthError: no sample has a labelled pixel.
        """
        self._side = side
        self._generator = generator
        self._atmosphere = atmosphere
        self._season = season
        self._classes = classes
        self._covers = covers
        soft = any(sample.soft_labels is not None for sample in samples)
        self._taught = covers + (len(classes) if soft else 0)
        # By class, then by source, so that neither source drowns the other within a class.
        self._by_class: dict[int, dict[str, list[Sample]]] = {}
        for sample in samples:
            codes, counts = np.unique(sample.codes, return_counts=True)
            for code, count in zip(codes, counts, strict=True):
                if code != VOID and count >= 32:
                    self._by_class.setdefault(int(code), {}).setdefault(sample.source, []).append(sample)
        if not self._by_class:
            raise GroundTruthError("no sample has a labelled pixel: nothing to train on")

    def drawing_from(self, generator: np.random.Generator) -> Self:
        """Return a maker of the same samples with another generator."""
        twin = copy(self)
        twin._generator = generator
        return twin

    def tile(self) -> Tile:
        """Draw the next tile."""
        generator = self._generator
        regions = self._regions(int(generator.choice(_REGIONS)))
        reflectance = np.empty((len(PATH_RADIANCE), self._side, self._side), np.float32)
        codes = np.zeros((self._side, self._side), np.uint16)
        allowed = np.zeros((self._side, self._side), np.uint64)
        weights = np.zeros((self._side, self._side), np.float32)
        taught = np.zeros((self._taught, self._side, self._side), np.float32)
        for region in range(int(regions.max()) + 1):
            inside = regions == region
            texture, labels, sets, probable = self._texture()
            for whole, part in ((reflectance, texture), (codes, labels), (allowed, sets), (taught, probable)):
                np.copyto(whole, part, where=inside)
            known = inside & (codes != VOID)
            labelled = max(1, int(np.count_nonzero(known)))
            weights[inside] = WEAK_WEIGHT
            weights[known] = min(_HIGHEST_WEIGHT, int(np.count_nonzero(inside)) / labelled)
        observed = reflectance.max(axis=0) > 0
        reflectance = np.maximum(under_another_atmosphere(reflectance, generator, self._atmosphere), 1)
        if generator.random() < _SWATH_EDGE_SHARE:
            observed &= ~self._beyond_swath()
        reflectance[:, ~observed] = 0
        codes[~observed], allowed[~observed], taught[:, ~observed] = VOID, 0, 0
        return Tile(reflectance, codes, allowed, weights, taught[: self._covers], taught[self._covers :])

    def _texture(self) -> tuple[Reflectance, Codes, Sets, Weights]:
        """Draw one sample, crop, rotate or mirror it.

        Returns:
            Reflectance, codes, allowed classes, and the stack of covers and soft labels.
        """
        generator = self._generator
        code = int(generator.choice(sorted(self._by_class)))
        sources = self._by_class[code]
        choices = sources[str(generator.choice(sorted(sources)))]
        sample = self._cropped(choices[int(generator.integers(len(choices)))], code)
        reflectance = as_surface(sample, generator, self._atmosphere.uncorrected)
        if self._season and generator.random() < self._season:
            reflectance = in_another_season(reflectance, generator)
        labels = np.stack([sample.codes, allowed_classes(sample, self._classes)])
        taught = np.zeros((self._taught, *sample.codes.shape), np.float32)
        if self._covers and sample.covers is not None:
            taught[: self._covers] = sample.covers
        if sample.soft_labels is not None:
            taught[self._covers :] = sample.soft_labels
        turns, mirrored = int(generator.integers(4)), bool(generator.integers(2))
        reflectance, labels, taught = (np.rot90(part, turns, (1, 2)) for part in (reflectance, labels, taught))
        if mirrored:
            reflectance, labels, taught = (part[:, :, ::-1] for part in (reflectance, labels, taught))
        for axis, length in enumerate(labels.shape[1:], 1):
            if length < self._side:
                pixels = _unfolded(self._side, length, generator)
                reflectance, labels, taught = (part.take(pixels, axis) for part in (reflectance, labels, taught))
        return reflectance, labels[0].astype(np.uint16), labels[1], taught

    def _cropped(self, sample: Sample, code: int) -> Sample:
        """Crop a sample to at most a tile around a random pixel of a code."""
        if max(sample.codes.shape) <= self._side:
            return sample
        rows, columns = np.nonzero(sample.codes == code)
        pixel = int(self._generator.integers(len(rows)))
        window = tuple(
            _crop(self._side, length, int(centre), self._generator)
            for length, centre in zip(sample.codes.shape, (rows[pixel], columns[pixel]), strict=True)
        )
        return replace(
            sample,
            reflectance=sample.reflectance[:, *window],
            codes=sample.codes[window],
            weak=None if sample.weak is None else sample.weak[window],
            covers=None if sample.covers is None else sample.covers[:, *window],
            soft_labels=None if sample.soft_labels is None else sample.soft_labels[:, *window],
        )

    def _regions(self, count: int) -> npt.NDArray[np.int64]:
        """Draw regions 0…count-1 of natural shape: Voronoi cells with borders bent by smooth noise."""
        generator, side = self._generator, self._side
        seeds = generator.uniform(0, side, (count, 2)).astype(np.float32)
        bend = generator.normal(0, side / 12, (2, 9, 9)).astype(np.float32)
        grid = np.mgrid[:side, :side].astype(np.float32)
        for axis in range(2):
            grid[axis] += cv2.resize(bend[axis], (side, side), interpolation=cv2.INTER_CUBIC)
        distances = ((grid[None] - seeds[:, :, None, None]) ** 2).sum(axis=1)
        regions: npt.NDArray[np.int64] = distances.argmin(axis=0)
        return regions

    def _beyond_swath(self) -> npt.NDArray[np.bool_]:
        """Draw the part of a tile beyond a straight swath edge at a random angle."""
        generator, side = self._generator, self._side
        angle = generator.uniform(0, 2 * np.pi)
        rows, columns = np.mgrid[:side, :side] - side / 2
        beyond: npt.NDArray[np.bool_] = rows * np.sin(angle) + columns * np.cos(angle) > generator.uniform(0, side / 2)
        return beyond


def as_surface(sample: Sample, generator: np.random.Generator, uncorrected: float = 0.0) -> Reflectance:
    """Return a sample as rough surface reflectance × 10000, (10, height, width) float32, ≥ 1 where observed.

    A level-1C sample loses 60 to 130 % of `PATH_RADIANCE`, or 0 to 60 % in a share `uncorrected` of all draws, each
    band a separate share and never more than its darkest pixels hold, and is divided by a random transmittance. Half of
    the level-2A samples get a typical atmosphere and the same correction, so that no trace of it separates the levels.
    """
    reflectance = sample.reflectance.astype(np.float32)
    if sample.level == "L2A":
        if generator.random() < 0.5:
            return reflectance
        through = reflectance * np.linspace(0.85, 0.97, len(PATH_RADIANCE))[:, None, None]
        reflectance = np.where(reflectance > 0, through + PATH_RADIANCE[:, None, None], 0).astype(np.float32)
    observed = reflectance.max(axis=0) > 0
    least, most = (0.0, 0.6) if uncorrected and generator.random() < uncorrected else (0.6, 1.3)
    haze = PATH_RADIANCE * generator.uniform(least, most) * generator.uniform(0.9, 1.1, len(PATH_RADIANCE))
    darkest = np.percentile(reflectance[:, observed], 0.5, axis=1)
    haze = np.minimum(haze, 0.9 * darkest).astype(np.float32)
    # Transmittance rises from about 0.8 in the blue to about 0.95 in the short-wave infrared.
    clarity = np.linspace(generator.uniform(0.78, 0.95), generator.uniform(0.92, 1.0), len(PATH_RADIANCE))
    surface = np.maximum((reflectance - haze[:, None, None]) / clarity[:, None, None], 1)
    return np.where(observed, surface, 0).astype(np.float32)


def as_typical_surface(sample: Sample) -> npt.NDArray[np.uint16]:
    """Return a sample as rough surface reflectance × 10000, (10, height, width) uint16, deterministically.

    A level-1C sample loses `PATH_RADIANCE`, never more than its darkest pixels hold. For evaluation, not for training.
    """
    if sample.level == "L2A":
        return sample.reflectance
    reflectance = sample.reflectance.astype(np.float32)
    observed = reflectance.max(axis=0) > 0
    darkest = np.percentile(reflectance[:, observed], 0.5, axis=1)
    surface = reflectance - np.minimum(PATH_RADIANCE, 0.9 * darkest)[:, None, None]
    return np.where(observed, np.maximum(surface, 1), 0).astype(np.uint16)


def at_level(sample: Sample, level: str) -> npt.NDArray[np.uint16]:
    """Return a sample's reflectance as a model of `level` reads it, (10, height, width) uint16 × 10000.

    A level-1C sample for a level-2A model loses typical path radiance; every other one is returned unchanged.
    """
    return as_typical_surface(sample) if level == "L2A" else sample.reflectance


def surface_range(samples: Iterable[Sample]) -> InputRange:
    """Measure the range of samples as level-2A; level-1C samples lose typical path radiance first."""
    surfaces = (("L2A", as_typical_surface(sample)) for sample in samples)
    return InputRange.from_json(input_range(surfaces)["L2A"])


def under_another_atmosphere(
    reflectance: Reflectance, generator: np.random.Generator, atmosphere: Atmosphere = Atmosphere()
) -> Reflectance:
    """Return (10, height, width) reflectance under random gains, offsets and noise, one draw for the whole tile."""
    bands, a = len(reflectance), atmosphere
    gain = np.exp(generator.normal(0, a.gain) + generator.normal(0, a.band_gain, bands))
    haze = PATH_RADIANCE * generator.normal(0, a.path_radiance) + generator.normal(0, a.offset, bands)
    spread = np.float32(a.steady_noise) + np.float32(a.relative_noise) * reflectance
    noise = generator.standard_normal(reflectance.shape, dtype=np.float32) * spread
    shifted: Reflectance = (
        reflectance * gain.astype(np.float32)[:, None, None] + haze.astype(np.float32)[:, None, None] + noise
    )
    return shifted


def in_another_season(reflectance: Reflectance, generator: np.random.Generator) -> Reflectance:
    """Return (10, height, width) surface reflectance with its green plants more or less senescent, by one draw.

    A forest, pasture or orchard keeps its class from May to October; its colour changes most as its plants senesce.
    Pixels change with their greenness: not at all at NDVI 0.2, fully at 0.6.
    """
    red, infrared = reflectance[2], reflectance[6]
    green = np.clip(((infrared - red) / np.maximum(infrared + red, 1) - 0.2) / 0.4, 0, 1)
    stage = np.float32(generator.uniform(-0.4, 1.1))
    change = _SENESCENCE * generator.normal(1, 0.2, len(_SENESCENCE)).astype(np.float32)
    turned: Reflectance = reflectance * np.exp(stage * change[:, None, None] * green)
    return turned


def _crop(side: int, length: int, centre: int, generator: np.random.Generator) -> slice:
    """Choose `side` of `length` pixels that hold `centre`; all of them where they are fewer."""
    if length <= side:
        return slice(0, length)
    first = int(np.clip(centre - generator.integers(side // 4, side * 3 // 4), 0, length - side))
    return slice(first, first + side)


def _unfolded(side: int, length: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose the pixels that fill `side` from fewer ones: all of them, mirrored at their ends."""
    unfolded = np.arange(side) + int(generator.integers(2 * length))
    folded = unfolded % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
