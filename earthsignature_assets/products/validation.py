"""What must be true of a draft's files before readers may see them."""

from pathlib import Path

import rasterio

from earthsignature_assets.errors import ProductError
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset


def validate_files(draft: Draft, folder: Path) -> frozenset[int]:
    """Check the files of a draft, in `folder`; returns the codes present in the land-cover raster, without 0.

    Raises:
        ProductError: a file is missing, damaged or holds what it must not; the message names it.
    """
    for asset in Asset:
        if asset is not Asset.ITEM and not (folder / asset.value).is_file():
            raise ProductError(f"{draft.product_id}: {asset.value} is missing from the draft")
    with rasterio.open(folder / Asset.LAND_COVER.value) as raster:
        codes = raster.read(1)
    return frozenset(int(code) for code in set(codes.ravel().tolist()) - {0})
