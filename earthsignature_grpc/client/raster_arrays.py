"""GeoTIFFs of answers as xarray, with the meaning of each value as CF flag values (CF conventions, section 3.5)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_assets.nomenclature import CLASSES

if TYPE_CHECKING:
    import xarray as xr


def land_cover_array(content: bytes) -> "xr.DataArray":
    """Open a land-cover GeoTIFF.

    Returns:
        (y, x) uint16 CORINE level-3 codes, 0 where there is no data, with the raster's CRS and grid (`.rio`). The
        attributes `flag_values`, `flag_meanings` and `flag_colors` give the 44 classes and their official colours.

    Raises:
        ServiceAnswerError: the bytes are not a GeoTIFF of one band.
    """
    return _array(
        content,
        name="land_cover",
        long_name="CORINE land cover, level 3",
        flag_values=np.array([entry.code for entry in CLASSES], np.uint16),
        flag_meanings=" ".join(entry.slug for entry in CLASSES),
        flag_colors=" ".join(entry.hex_colour for entry in CLASSES),
    )


def cloud_mask_array(content: bytes) -> "xr.DataArray":
    """Open a cloud-mask GeoTIFF as (y, x) uint8, 1 under cloud, with the raster's CRS and grid.

    Raises:
        ServiceAnswerError: the bytes are not a GeoTIFF of one band.
    """
    return _array(
        content,
        name="cloud_mask",
        long_name="Cloud mask",
        flag_values=np.array([0, 1], np.uint8),
        flag_meanings="clear cloud",
    )


def land_cover_dataset(land_cover: bytes, cloud_mask: bytes) -> "xr.Dataset":
    """Open both rasters on the grid of the land cover; the cloud mask is resampled by nearest neighbour.

    An empty cloud mask is left out.

    Returns:
        `land_cover` (y, x) uint16 and `cloud_mask` (y, x) uint8, with one CRS.

    Raises:
        ServiceAnswerError: the bytes are not GeoTIFFs of one band.
    """
    import xarray as xr

    classes = land_cover_array(land_cover)
    if not cloud_mask:
        return xr.Dataset({"land_cover": classes})
    fine = cloud_mask_array(cloud_mask).rio.reproject_match(classes)  # nearest neighbour
    return xr.Dataset({"land_cover": classes, "cloud_mask": fine.assign_coords(x=classes.x, y=classes.y)})


def _array(content: bytes, name: str, **attributes: Any) -> "xr.DataArray":
    import rasterio
    import rioxarray
    import xarray as xr

    if not content:
        raise ServiceAnswerError(f"the answer has no {name}: it was requested without; request it again with {name}")
    try:
        with rasterio.MemoryFile(content) as file, file.open() as raster:
            bands = rioxarray.open_rasterio(raster)
            if not isinstance(bands, xr.DataArray) or bands.sizes["band"] != 1:
                raise ServiceAnswerError(f"the {name} of an answer has several bands or data sets; expected one band")
            array = bands.squeeze("band", drop=True).load()
    except rasterio.errors.RasterioIOError as error:
        raise ServiceAnswerError(f"the {name} of an answer is not a GeoTIFF: {error}") from error
    return array.rename(name).assign_attrs(attributes)
