"""The range of reflectance in training, and the share of an image outside it.

An image unlike the training data (haze, snow, a wrong offset, another level) gets classes nevertheless. Each band is
therefore compared with the middle 99 % of its training pixels: 1 % of a similar image lies outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_LOWEST, _HIGHEST = 0.005, 0.995
EXPECTED_OUTSIDE = 1 - (_HIGHEST - _LOWEST)
_STEP = 8  # reflectance × 10000 of a bin: finer than the noise of the sensor
_BINS = 65536 // _STEP


@dataclass(frozen=True)
class BandRange:
    """Quantiles 0.5 %, 50 % and 99.5 % of one band over the training pixels, reflectance × 10000."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class InputRange:
    """The range of each band, in the order of the model's bands, for one processing level."""

    level: str
    pixels: int
    bands: tuple[BandRange, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {
            "level": self.level,
            "pixels": self.pixels,
            "bands": [[band.low, band.median, band.high] for band in self.bands],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the values of `to_json`.

        Raises:
            KeyError: a field is missing.
            TypeError: a band does not have three numbers.
        """
        bands = tuple(BandRange(*(float(value) for value in band)) for band in content["bands"])
        return cls(str(content["level"]), int(content["pixels"]), bands)

    def outside(self, pixels: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Compute the share of observed pixels below and above the range of each band: (bands,) float64 each.

        Args:
            pixels: (bands, n) uint16 × 10000, observed pixels only, at least one.
        """
        low, high = (np.array([getattr(band, end) for band in self.bands])[:, None] for end in ("low", "high"))
        below: npt.NDArray[np.float64] = (pixels < low).mean(axis=1)
        above: npt.NDArray[np.float64] = (pixels > high).mean(axis=1)
        return below, above


def band_quantiles(pixels: npt.NDArray[np.uint16]) -> list[BandRange]:
    """Compute the quantiles 0.5 %, 50 % and 99.5 % of each band of (bands, n) uint16 pixels, n ≥ 1."""
    low, median, high = np.quantile(pixels, [_LOWEST, 0.5, _HIGHEST], axis=1)
    return [BandRange(*(float(value) for value in band)) for band in zip(low, median, high, strict=True)]


def input_range(images: Iterable[tuple[str, npt.NDArray[np.uint16]]]) -> dict[str, dict[str, Any]]:
    """Compute the range of each processing level over its images, as by `InputRange.to_json`.

    Args:
        images: level and reflectance, (bands, height, width) uint16 × 10000, 0 = no data, of each image.
    """
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for level, image in images:
        observed = image[:, image.max(axis=0) > 0]
        histogram = [np.bincount(band // _STEP, minlength=_BINS) for band in observed]
        counts[level] = counts.get(level, 0) + np.stack(histogram)
    return {level: _range(level, found).to_json() for level, found in counts.items() if found.sum()}


def _range(level: str, counts: npt.NDArray[np.int64]) -> InputRange:
    return InputRange(level, int(counts[0].sum()), tuple(BandRange(*_quantiles(band)) for band in counts))


def _quantiles(counts: npt.NDArray[np.int64]) -> Sequence[float]:
    cumulated = np.cumsum(counts)
    low, median, high = (int(np.searchsorted(cumulated, share * cumulated[-1])) for share in (_LOWEST, 0.5, _HIGHEST))
    return float(low * _STEP), float(median * _STEP), float((high + 1) * _STEP - 1)
