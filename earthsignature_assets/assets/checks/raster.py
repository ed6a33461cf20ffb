"""Checks of `land_cover_raster`: grid, codes and extent of the data, and signs of unlikely values."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import rasterio

from earthsignature_assets.assets.checks.drift import HISTORY_SPECS, MOST_PRODUCTS, check_history
from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import CLOUD_RESOLUTION_M, Asset, Product
from earthsignature_assets.products.rasters.cog import class_areas
from earthsignature_assets.products.store.product_store import ProductStore

_MOST_DIFFERENT_PERCENT = 0.1
_LEAST_CONFIDENCE_PERCENT = 40.0
_MOST_CHANGED_PERCENT = 30.0

SPECS = [
    check_spec("grid_and_crs", "land_cover_raster", "All rasters lie on the UTM grid of the tile.", blocking=True),
    check_spec("class_codes", "land_cover_raster", "Only codes of the model, and 0 for no data.", blocking=True),
    check_spec(
        "valid_fraction",
        "land_cover_raster",
        f"Exactly the observed pixels have a class (within {_MOST_DIFFERENT_PERCENT} %).",
        blocking=True,
    ),
    check_spec(
        "confidence",
        "land_cover_raster",
        f"The model's mean confidence is at least {_LEAST_CONFIDENCE_PERCENT:.0f} %.",
        blocking=False,
    ),
    check_spec(
        "class_areas",
        "land_cover_raster",
        f"Less than {_MOST_CHANGED_PERCENT:.0f} % of the area changed its class share since the tile's last product.",
        blocking=False,
    ),
    *HISTORY_SPECS,
]


def check_rasters(
    draft: Draft,
    description: ModelDescription,
    patches: PatchStore,
    history: Sequence[tuple[Product, Mapping[int, float]]] = (),
) -> list[Finding]:
    """Read the rasters of a draft back and compare them with the scene, the model and the tile's earlier products.

    Args:
        draft: product before its publication.
        description: description of its model version.
        patches: patches of the scene.
        history: earlier products of the tile by this model, the newest first, with their class areas in m².
    """
    with rasterio.open(draft.path(Asset.LAND_COVER)) as raster:
        codes = raster.read(1)
    with rasterio.open(draft.path(Asset.CONFIDENCE)) as raster:
        confidence = raster.read(1)
    observed = int(np.count_nonzero(~patches.no_data()))
    valid = codes > 0
    areas = class_areas(codes, draft.grid)
    return [
        _on_grid(draft),
        _known_codes(areas, description),
        _as_observed(int(np.count_nonzero(valid)), observed, codes.size),
        _confident(float(confidence[valid].mean()) if valid.any() else None),
        _like_before(areas, history[0] if history else None),
        check_history(areas, [earlier for _, earlier in history]),
    ]


def earlier_of_tile(
    draft: Draft, store: ProductStore, most: int = MOST_PRODUCTS
) -> list[tuple[Product, Mapping[int, float]]]:
    """Return the products of earlier scenes of the draft's tile and model, the newest first, with class areas in m²."""
    if not store.has_catalogue():
        return []
    query = ProductQuery(area=draft.footprint.representative_point(), end=draft.sensed_at, model=draft.model)
    with store.open_catalogue(read_only=True) as catalogue:
        found = (
            product
            for product in catalogue.search(query)
            if product.scene.tile == draft.scene.tile and product.scene != draft.scene
        )
        products = list(islice(found, most))
    return [(product, _areas(product, store)) for product in products]


def _areas(product: Product, store: ProductStore) -> dict[int, float]:
    properties = json.loads(store.read(product, Asset.ITEM))["properties"]
    return {int(code): area for code, area in properties["earthsignature:area_m2"].items()}


def _on_grid(draft: Draft) -> Finding:
    coarse = draft.grid.at_resolution(CLOUD_RESOLUTION_M)
    expected: dict[Asset, PixelGrid] = {
        Asset.LAND_COVER: draft.grid,
        Asset.CONFIDENCE: draft.grid,
        Asset.CLOUD_MASK: coarse,
    }
    for asset, grid in expected.items():
        with rasterio.open(draft.path(asset)) as raster:
            found = (raster.crs.to_epsg(), raster.shape, tuple(raster.transform)[:6])
        if found != (grid.epsg, grid.shape, tuple(grid.transform)[:6]):
            return Finding("grid_and_crs", False, f"{asset.value} is off the grid of {draft.scene}: {found}")
    return Finding("grid_and_crs", True, f"EPSG:{draft.grid.epsg}, {draft.grid.width} × {draft.grid.height} pixels")


def _known_codes(areas: Mapping[int, float], description: ModelDescription) -> Finding:
    strange = sorted(set(areas) - set(description.class_codes))
    message = f"codes {strange} are not classes of {description.model}" if strange else f"{len(areas)} classes"
    return Finding("class_codes", not strange, message, {"classes": len(areas)})


def _as_observed(valid: int, observed: int, pixels: int) -> Finding:
    percent, expected = 100 * valid / pixels, 100 * observed / pixels
    passed = bool(valid) == bool(observed) and abs(percent - expected) <= _MOST_DIFFERENT_PERCENT
    message = f"{percent:.2f} % of the tile has a class, {expected:.2f} % was observed"
    return Finding(
        "valid_fraction", passed, message, {"valid_percent": round(percent, 3), "observed_percent": round(expected, 3)}
    )


def _confident(mean_percent: float | None) -> Finding:
    if mean_percent is None:
        return Finding("confidence", True, "no pixel has a class", warns=True)
    passed = mean_percent >= _LEAST_CONFIDENCE_PERCENT
    message = f"mean confidence {mean_percent:.1f} %"
    if not passed:
        message += ": look at the picture before you use the product; the scene may be unlike the training data"
    return Finding("confidence", passed, message, {"mean_confidence_percent": round(mean_percent, 1)}, warns=True)


def _like_before(areas: Mapping[int, float], before: tuple[Product, Mapping[int, float]] | None) -> Finding:
    if before is None:
        return Finding("class_areas", True, "the tile's first product of this model", warns=True)
    product, earlier = before
    if not areas or not earlier:
        return Finding(
            "class_areas", True, f"nothing to compare: no pixel has a class here or in {product.scene}", warns=True
        )
    changed = share_difference_percent(areas, earlier)
    passed = changed <= _MOST_CHANGED_PERCENT
    message = f"{changed:.1f} % of the area has another class than in {product.scene}"
    if not passed:
        now, then = _shares(areas), _shares(earlier)
        code = max(set(now) | set(then), key=lambda code: abs(now.get(code, 0.0) - then.get(code, 0.0)))
        message += (
            f"; most of it {class_of(code).name} ({then.get(code, 0.0):.0%} then, {now.get(code, 0.0):.0%} now): "
            "season, snow, haze, or a fault"
        )
    return Finding(
        "class_areas",
        passed,
        message,
        {"changed_percent": round(changed, 2), "compared_with": str(product.scene)},
        warns=True,
    )


def share_difference_percent(areas: Mapping[int, float], earlier: Mapping[int, float]) -> float:
    """Compute half the sum of absolute differences of class shares, in percent: 0 if equal, 100 if disjoint."""
    now, then = _shares(areas), _shares(earlier)
    return 50 * sum(abs(now.get(code, 0.0) - then.get(code, 0.0)) for code in set(now) | set(then))


def _shares(areas: Mapping[int, float]) -> dict[int, float]:
    total = sum(areas.values())
    return {code: area / total for code, area in areas.items()} if total else {}
