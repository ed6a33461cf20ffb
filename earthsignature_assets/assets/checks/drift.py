"""Checks for drift: a scene unlike what its model was trained on, and class shares unlike those of the tile's past."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.models.input_range import EXPECTED_OUTSIDE
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.nomenclature import class_of

_MOST_OUTSIDE = 0.10
_FEWEST_PRODUCTS = 3
MOST_PRODUCTS = 12
"""How many earlier products of a tile its class shares are held against."""
_MOST_BEYOND = 0.10

INPUT_SPECS = [
    check_spec(
        "input_range",
        "segmentation",
        f"Of each band, at most {_MOST_OUTSIDE:.0%} of the clear pixels are outside the range of the model's training.",
        blocking=False,
    )
]
HISTORY_SPECS = [
    check_spec(
        "class_history",
        "land_cover_raster",
        f"No share is {100 * _MOST_BEYOND:.0f} points beyond those of the tile's last {MOST_PRODUCTS} products.",
        blocking=False,
    )
]


def check_input(pixels: npt.NDArray[np.uint16], description: ModelDescription) -> Finding:
    """Hold a scene's clear pixels against the range that the model's training saw.

    Args:
        pixels: (bands, n) uint16 × 10000.
        description: of the model version.
    """
    known = description.training_range
    if known is None:
        told = f"no training range is known of {description.model}: its model.json gives none"
        return Finding("input_range", True, told, warns=True)
    if not pixels.shape[1]:
        return Finding("input_range", True, "no clear pixel to look at", warns=True)
    below, above = known.outside(pixels)
    outside = below + above
    worst = int(outside.argmax())
    passed = bool(outside[worst] <= _MOST_OUTSIDE)
    band, limits = description.bands[worst], known.bands[worst]
    told = f"at most {outside[worst]:.0%} of a band, {band}, outside the range, {EXPECTED_OUTSIDE:.0%} expected"
    if not passed:
        where = "above" if above[worst] >= below[worst] else "below"
        bands = ", ".join(
            f"{name} {share:.0%}"
            for name, share in zip(description.bands, outside, strict=True)
            if share > _MOST_OUTSIDE
        )
        told = (
            f"unlike what {description.model} was trained on: {bands} of the clear pixels are outside its range, "
            f"{band} mostly {where} ({limits.low:.0f}…{limits.high:.0f}, median {limits.median:.0f}; here "
            f"{np.median(pixels[worst]):.0f}). {_CAUSES[where]} Look at the picture before you trust the product"
        )
    figures = {
        f"{name}_outside_percent": round(100 * float(share), 2)
        for name, share in zip(description.bands, outside, strict=True)
    }
    return Finding("input_range", passed, told, figures, warns=True)


_CAUSES = {
    "above": "Snow, haze, thin cloud, or an offset that was not taken off.",
    "below": "Cloud shadow, low sun, water, or an offset that was taken off twice.",
}


def check_history(areas: Mapping[int, float], history: Sequence[Mapping[int, float]]) -> Finding:
    """Hold a product's class shares against those of earlier products of its tile by the same model.

    Args:
        areas: area of each class, in any unit.
        history: the same of earlier products.
    """
    before = [_shares(earlier) for earlier in history if sum(earlier.values())]
    if len(before) < _FEWEST_PRODUCTS or not sum(areas.values()):
        told = f"{len(before)} earlier products of the tile: {_FEWEST_PRODUCTS} are needed to know what is usual"
        return Finding("class_history", True, told, warns=True)
    now, beyond = _shares(areas), {}
    for code in sorted(set(now).union(*before)):
        usual = [shares.get(code, 0.0) for shares in before]
        share = now.get(code, 0.0)
        beyond[code] = max(share - max(usual), min(usual) - share)
    worst = max(beyond, key=lambda code: beyond[code])
    passed = beyond[worst] <= _MOST_BEYOND
    usual = [shares.get(worst, 0.0) for shares in before]
    told = (
        f"{class_of(worst).name}: {now.get(worst, 0.0):.0%} of the area, {min(usual):.0%} to {max(usual):.0%} in the "
        f"tile's last {len(before)} products"
    )
    if not passed:
        told += ": season, snow, haze, or a fault. Compare the pictures of both"
    figures = {
        "furthest_class": worst,
        "points_beyond": round(100 * max(beyond[worst], 0.0), 2),
        "products": len(before),
    }
    return Finding("class_history", passed, told, figures, warns=True)


def _shares(areas: Mapping[int, float]) -> dict[int, float]:
    total = sum(areas.values())
    return {code: area / total for code, area in areas.items()}
