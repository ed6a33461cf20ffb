"""The STAC item of a simulated scene, with exactly the fields that Earth Search v1 publishes.

Modelled on published items of `sentinel-2-c1-l2a` (2024, baseline 05.10) and `sentinel-2-l2a` (2016 to 2023,
baselines 00.01 to 05.09).
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Transformer
from shapely import orient_polygons, to_geojson, transform
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.simulator import classification
from earthsignature_assets.simulator.sky import Part, Sun

C1 = "sentinel-2-c1-l2a"
L2A = "sentinel-2-l2a"


@dataclass(frozen=True)
class BandAsset:
    """A band in Earth Search: its asset key, its titles in both collections, its wavelengths in µm."""

    band: str
    key: str
    common_name: str
    resolution_m: int
    c1_title: str
    l2a_title: str
    l2a_description: str
    center_wavelength: float
    full_width_half_max: float


BAND_ASSETS = (
    BandAsset("B04", "red", "red", 10, "Red - 10m", "Red (band 4) - 10m", "Red (band 4)", 0.665, 0.038),
    BandAsset("B03", "green", "green", 10, "Green - 10m", "Green (band 3) - 10m", "Green (band 3)", 0.56, 0.045),
    BandAsset("B02", "blue", "blue", 10, "Blue - 10m", "Blue (band 2) - 10m", "Blue (band 2)", 0.49, 0.098),
    BandAsset("B08", "nir", "nir", 10, "NIR 1 - 10m", "NIR 1 (band 8) - 10m", "NIR 1 (band 8)", 0.842, 0.145),
    BandAsset(
        "B12", "swir22", "swir22", 20, "SWIR 2.2μm - 20m", "SWIR 2 (band 12) - 20m", "SWIR 2 (band 12)", 2.19, 0.242
    ),
    BandAsset(
        "B06",
        "rededge2",
        "rededge",
        20,
        "Red Edge 2 - 20m",
        "Red edge 2 (band 6) - 20m",
        "Red edge 2 (band 6)",
        0.74,
        0.018,
    ),
    BandAsset(
        "B07",
        "rededge3",
        "rededge",
        20,
        "Red Edge 3 - 20m",
        "Red edge 3 (band 7) - 20m",
        "Red edge 3 (band 7)",
        0.783,
        0.028,
    ),
    BandAsset(
        "B05",
        "rededge1",
        "rededge",
        20,
        "Red Edge 1 - 20m",
        "Red edge 1 (band 5) - 20m",
        "Red edge 1 (band 5)",
        0.704,
        0.019,
    ),
    BandAsset(
        "B11", "swir16", "swir16", 20, "SWIR 1.6μm - 20m", "SWIR 1 (band 11) - 20m", "SWIR 1 (band 11)", 1.61, 0.143
    ),
    BandAsset("B8A", "nir08", "nir08", 20, "NIR 2 - 20m", "NIR 2 (band 8A) - 20m", "NIR 2 (band 8A)", 0.865, 0.033),
)

_EXTENSIONS = {
    C1: "eo/v1.1.0 file/v2.1.0 grid/v1.1.0 mgrs/v1.0.0 processing/v1.1.0 projection/v1.1.0 raster/v1.1.0 "
    "sentinel-2/v1.0.0 storage/v1.0.0 view/v1.0.0",
    L2A: "processing/v1.1.0 mgrs/v1.0.0 eo/v1.0.0 view/v1.0.0 raster/v1.1.0 grid/v1.0.0 projection/v1.0.0",
}
_COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_SCL_TITLE = "Scene classification map (SCL)"


@dataclass(frozen=True)
class Acquisition:
    """The names and times of one product, which distinguish it from others of its datatake and tile.

    `reprocessed` counts later reprocessings: a newer name, the same pixels.
    """

    key: SceneKey
    platform: str
    baseline: str
    collection: str
    part: Part
    reprocessed: int

    @property
    def datatake_start(self) -> dt.datetime:
        """Start of the datatake, UTC: the same for all tiles and parts of an orbit on a day."""
        minute_of_orbit = (self.key.relative_orbit * 53) % 1200 - 600
        start = dt.datetime.combine(self.key.day, dt.time(10), dt.UTC)
        return start + dt.timedelta(seconds=minute_of_orbit)

    @property
    def datastrip_start(self) -> dt.datetime:
        """Time of the first line of the product's datastrip, UTC."""
        delay = 300 if self.part is Part.SOUTH else 120
        return self.datatake_start + dt.timedelta(seconds=delay + self.reprocessed)

    @property
    def generation_time(self) -> dt.datetime:
        """Time of processing, UTC."""
        delay = dt.timedelta(hours=3, minutes=25 if self.part is Part.SOUTH else 0, days=400 * self.reprocessed)
        return self.datatake_start + delay

    @property
    def _baseline_name(self) -> str:
        return f"N{self.baseline.replace('.', ''):0>4}"

    @property
    def _absolute_orbit(self) -> int:
        # Sentinel-2A was launched in June 2015; a cycle is 143 orbits in 10 days.
        cycles = (self.key.day - dt.date(2015, 6, 23)).days // 10
        return 143 * cycles + self.key.relative_orbit

    @property
    def product_uri(self) -> str:
        """ESA's product name, including `.SAFE`."""
        return (
            f"{self.platform}_MSIL2A_{self.datatake_start:%Y%m%dT%H%M%S}_{self._baseline_name}"
            f"_R{self.key.relative_orbit:03d}_T{self.key.tile}_{self.generation_time:%Y%m%dT%H%M%S}.SAFE"
        )

    @property
    def item_id(self) -> str:
        """Id of the item, in the format of its collection."""
        if self.collection == C1:
            return f"{self.platform}_T{self.key.tile}_{self.datastrip_start:%Y%m%dT%H%M%S}_L2A"
        sequence = 2 * self.reprocessed + (1 if self.part is Part.SOUTH else 0)
        return f"{self.platform}_{self.key.tile}_{self.key.day:%Y%m%d}_{sequence}_L2A"

    @property
    def folder(self) -> str:
        """Folder of the item in Earth Search's bucket: `<collection>/32/T/QM/2026/5/<id>`."""
        tile, day = self.key.tile, self.key.day
        zone = f"{int(tile[:2])}/{tile[2]}/{tile[3:]}"
        return f"{self.collection}/{zone}/{day.year}/{day.month}/{self.item_id}"

    def names(self) -> dict[str, Any]:
        """Return the item's `s2:` properties that name the product."""
        baseline = f"N{self.baseline}"
        made = f"{self.generation_time:%Y%m%dT%H%M%S}"
        orbit = f"{self._absolute_orbit:06d}"
        tile_id = f"{self.platform}_OPER_MSI_L2A_TL_2BPS_{made}_A{orbit}_T{self.key.tile}_{baseline}"
        return {
            "s2:tile_id" if self.collection == C1 else "s2:granule_id": tile_id,
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": self.baseline,
            "s2:product_uri": self.product_uri,
            "s2:generation_time": _timestamp(self.generation_time),
            "s2:datatake_id": f"G{self.platform}_{self.datatake_start:%Y%m%dT%H%M%S}_{orbit}_{baseline}",
            "s2:datatake_type": "INS-NOBS",
            "s2:datastrip_id": (
                f"{self.platform}_OPER_MSI_L2A_DS_2BPS_{made}_S{self.datastrip_start:%Y%m%dT%H%M%S}_{baseline}"
            ),
        }


@dataclass(frozen=True)
class Observation:
    """Facts about a product's pixels that the item states.

    `outline` is in metres of the grid's CRS, `class_percentages` those of the scene classification among the valid
    cells, `missing_percentage` the percentage of cells without data.
    """

    outline: BaseGeometry
    sun: Sun
    class_percentages: Mapping[int, float]
    missing_percentage: float


def build_item(
    acquisition: Acquisition,
    grid: PixelGrid,
    observation: Observation,
    files: Mapping[str, Path],
    hrefs: Mapping[str, str],
    offset_applied: bool,
    raster_offset: float,
) -> dict[str, Any]:
    """Build the STAC item of a product.

    Args:
        acquisition: its names and times.
        grid: its 10 m grid.
        observation: what its pixels hold.
        files: path of each band's file, by band (`B04`, …, `SCL`).
        hrefs: href of each band's file.
        offset_applied: `earthsearch:boa_offset_applied` of the older collection.
        raster_offset: `offset` of the bands' `raster:bands`.
    """
    collection, key = acquisition.collection, acquisition.key
    project = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform
    footprint = orient_polygons(transform(observation.outline, lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1]))))
    sensed = acquisition.datatake_start + dt.timedelta(seconds=360 + 16 * (55 - footprint.centroid.y))
    published = _timestamp(acquisition.generation_time + dt.timedelta(hours=2, minutes=34), milliseconds=True)
    share = observation.class_percentages
    properties: dict[str, Any] = {
        "created": published,
        "platform": f"sentinel-{acquisition.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(sum(share[number] for number in _CLOUDS), 6),
        "proj:epsg": grid.epsg,
        "proj:centroid": {"lat": round(footprint.centroid.y, 5), "lon": round(footprint.centroid.x, 5)},
        "mgrs:utm_zone": int(key.tile[:2]),
        "mgrs:latitude_band": key.tile[2],
        "mgrs:grid_square": key.tile[3:],
        "grid:code": f"MGRS-{key.tile}",
        "view:sun_azimuth": observation.sun.azimuth,
        "view:sun_elevation": observation.sun.elevation,
        "s2:degraded_msi_data_percentage": 0,
        "s2:nodata_pixel_percentage": round(observation.missing_percentage, 6),
        "s2:saturated_defective_pixel_percentage": 0,
        **{name: round(share[number], 6) for name, number in _PERCENTAGE_NAMES.items()},
        **acquisition.names(),
        "datetime": _timestamp(sensed),
        "updated": published,
    }
    if collection == L2A:
        del properties["proj:centroid"]
        properties["s2:sequence"] = acquisition.item_id.split("_")[3]
        properties["earthsearch:boa_offset_applied"] = offset_applied
    assets = {}
    for entry in BAND_ASSETS:
        assets[entry.key] = _band_asset(entry, collection, grid, hrefs[entry.band], raster_offset)
    assets["scl"] = {
        **_raster_asset(_SCL_TITLE, grid.at_resolution(20), hrefs["SCL"]),
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
        "roles": ["data"] if collection == C1 else ["data", "reflectance"],
    }
    if collection == C1:
        assets["scl"]["gsd"] = 20
        for name, band in [(entry.key, entry.band) for entry in BAND_ASSETS] + [("scl", "SCL")]:
            content = files[band].read_bytes()
            # A multihash: 0x12 is SHA-256, 0x20 its length.
            assets[name]["file:checksum"] = f"1220{hashlib.sha256(content).hexdigest()}"
            assets[name]["file:size"] = len(content)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": acquisition.item_id,
        "properties": properties,
        "geometry": json.loads(to_geojson(footprint)),
        "links": [],
        "assets": assets,
        "bbox": list(footprint.bounds),
        "stac_extensions": [
            f"https://stac-extensions.github.io/{name}/schema.json" for name in _EXTENSIONS[collection].split()
        ],
        "collection": collection,
    }


_CLOUDS = (classification.CLOUD_MEDIUM, classification.CLOUD_HIGH, classification.CIRRUS)
_PERCENTAGE_NAMES = {
    "s2:dark_features_percentage": classification.DARK,
    "s2:cloud_shadow_percentage": classification.SHADOW,
    "s2:vegetation_percentage": classification.VEGETATION,
    "s2:not_vegetated_percentage": classification.BARE,
    "s2:water_percentage": classification.WATER,
    "s2:unclassified_percentage": classification.UNCLASSIFIED,
    "s2:medium_proba_clouds_percentage": classification.CLOUD_MEDIUM,
    "s2:high_proba_clouds_percentage": classification.CLOUD_HIGH,
    "s2:thin_cirrus_percentage": classification.CIRRUS,
    "s2:snow_ice_percentage": classification.SNOW,
}


def _band_asset(entry: BandAsset, collection: str, grid: PixelGrid, href: str, offset: float) -> dict[str, Any]:
    c1 = collection == C1
    band: dict[str, Any] = {"name": entry.band if c1 else entry.key, "common_name": entry.common_name}
    if not c1:
        band["description"] = entry.l2a_description
    band["center_wavelength"] = entry.center_wavelength
    band["full_width_half_max"] = entry.full_width_half_max
    raster: dict[str, Any] = {"nodata": 0, "data_type": "uint16"}
    if not c1:
        raster["bits_per_sample"] = 15
    raster |= {"spatial_resolution": entry.resolution_m, "scale": 0.0001, "offset": offset}
    title = entry.c1_title if c1 else entry.l2a_title
    return {
        **_raster_asset(title, grid.at_resolution(entry.resolution_m), href),
        "eo:bands": [band],
        "gsd": entry.resolution_m,
        "raster:bands": [raster],
        "roles": ["data", "reflectance"],
    }


def _raster_asset(title: str, grid: PixelGrid, href: str) -> dict[str, Any]:
    resolution = int(grid.resolution_m)
    return {
        "href": href,
        "type": _COG_TYPE,
        "title": title,
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [resolution, 0, int(grid.left_m), 0, -resolution, int(grid.top_m)],
    }


def _timestamp(moment: dt.datetime, milliseconds: bool = False) -> str:
    text = moment.isoformat(timespec="milliseconds" if milliseconds else "microseconds")
    return text.replace("+00:00", "Z")
