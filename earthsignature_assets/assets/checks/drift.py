"""Checks for drift: scenes unlike the training data, and class shares unlike those of the tile's earlier products."""

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
"""Number of earlier products of a tile that its class shares are compared with."""
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
    """Compare the clear pixels of a scene with the range of the model's training data.

    Args:
        pixels: reflectance × 10000, (bands, n) uint16.
        description: description of the model version.
    """
    known = description.training_range
    if known is None:
        message = f"the training range of {description.model} is not known: its model.json has none"
        return Finding("input_range", True, message, warns=True)
    if not pixels.shape[1]:
        return Finding("input_range", True, "no clear pixel to compare", warns=True)
    below, above = known.outside(pixels)
    outside = below + above
    worst = int(outside.argmax())
    passed = bool(outside[worst] <= _MOST_OUTSIDE)
    band, limits = description.bands[worst], known.bands[worst]
    message = f"at most {outside[worst]:.0%} of a band, {band}, outside the range, {EXPECTED_OUTSIDE:.0%} expected"
    if not passed:
        where = "above" if above[worst] >= below[worst] else "below"
        bands = ", ".join(
            f"{name} {share:.0%}"
            for name, share in zip(description.bands, outside, strict=True)
            if share > _MOST_OUTSIDE
        )
        message = (
            f"unlike the training data of {description.model}: {bands} of the clear pixels are outside its range, "
            f"{band} mostly {where} ({limits.low:.0f}…{limits.high:.0f}, median {limits.median:.0f}; here "
            f"{np.median(pixels[worst]):.0f}). {_CAUSES[where]} Look at the picture before you use the product"
        )
    figures = {
        f"{name}_outside_percent": round(100 * float(share), 2)
        for name, share in zip(description.bands, outside, strict=True)
    }
    return Finding("input_range", passed, message, figures, warns=True)


_CAUSES = {
    "above": "Snow, haze, thin cloud, or an offset that was not subtracted.",
    "below": "Cloud shadow, low sun, water, or an offset that was subtracted twice.",
}


def check_history(areas: Mapping[int, float], history: Sequence[Mapping[int, float]]) -> Finding:
    """Compare the class shares of a product with those of its tile's earlier products by the same model.

    Args:
        areas: area of each class, in any unit.
        history: areas of the earlier products.
    """
    before = [_shares(earlier) for earlier in history if sum(earlier.values())]
    if len(before) < _FEWEST_PRODUCTS or not sum(areas.values()):
        message = f"{len(before)} earlier products of the tile: {_FEWEST_PRODUCTS} are needed for a comparison"
        return Finding("class_history", True, message, warns=True)
    now, beyond = _shares(areas), {}
    for code in sorted(set(now).union(*before)):
        usual = [shares.get(code, 0.0) for shares in before]
        share = now.get(code, 0.0)
        beyond[code] = max(share - max(usual), min(usual) - share)
    worst = max(beyond, key=lambda code: beyond[code])
    passed = beyond[worst] <= _MOST_BEYOND
    usual = [shares.get(worst, 0.0) for shares in before]
    message = (
        f"{class_of(worst).name}: {now.get(worst, 0.0):.0%} of the area, {min(usual):.0%} to {max(usual):.0%} in the "
        f"tile's last {len(before)} products"
    )
    if not passed:
        message += ": season, snow, haze, or a fault. Compare the pictures"
    figures = {
        "furthest_class": worst,
        "points_beyond": round(100 * max(beyond[worst], 0.0), 2),
        "products": len(before),
    }
    return Finding("class_history", passed, message, figures, warns=True)


def _shares(areas: Mapping[int, float]) -> dict[int, float]:
    total = sum(areas.values())
    return {code: area / total for code, area in areas.items()}
