"""The STAC item of a training set, with the label extension: its place, labels and sources."""

from typing import Any

import geopandas
from shapely.geometry import box, mapping

from earthsignature_assets.ground_truth.label_scheme import code_name
from earthsignature_assets.nomenclature import name_at_level

_LABEL = "https://stac-extensions.github.io/label/v1.0.0/schema.json"
_FIRST_IMAGE = "2015-06-27T00:00:00Z"


def training_set_item(frame: geopandas.GeoDataFrame, report: dict[str, Any]) -> dict[str, Any]:
    """Return the STAC 1.1 item of a training set as plain JSON values; its assets lie next to it.

    Args:
        frame: the frame of the samples.
        report: the set's report.
    """
    west, south, east, north = (round(float(value), 6) for value in frame.total_bounds)
    times = sorted(image["sensed_at"] for image in report["images"] if image.get("sensed_at"))
    classes = [(name_at_level(entry["code"], entry["level"]), entry["pixels"]) for entry in report["classes"]]
    # Labelled patches may have no date: the interval runs from the first Sentinel-2 image to the creation of the set.
    first, last = (times[0], times[-1]) if times else (_FIRST_IMAGE, report["made_at"])
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_LABEL],
        "id": f"{report['name']}-{report['identity'][:12]}",
        "geometry": mapping(box(west, south, east, north)),
        "bbox": [west, south, east, north],
        "properties": {
            "title": f"Training set {report['name']}",
            "created": report["made_at"],
            "datetime": None,
            "start_datetime": first,
            "end_datetime": last,
            "label:type": "raster",
            "label:tasks": ["segmentation"],
            "label:methods": ["manual"],
            "label:properties": None,
            "label:classes": [{"name": "codes", "classes": [name for name, _ in classes]}],
            "label:description": "; ".join(
                f"{entry['name']} ({code_name(entry['code'], entry['level'])})" for entry in report["classes"]
            ),
            "label:overviews": [
                {
                    "property_key": "codes",
                    "counts": [{"name": name, "count": pixels} for name, pixels in classes],
                }
            ],
            "earthsignature:splits": {split: part["samples"] for split, part in report["splits"].items()},
            "earthsignature:identity": report["identity"],
        },
        "links": [
            {"rel": "source", "href": image["href"], "type": "application/geo+json"}
            for image in report["images"]
            if image.get("href")
        ],
        "assets": {
            "set": {
                "href": "./set.zarr",
                "type": "application/vnd+zarr",
                "title": "Reflectance and labels of every sample",
                "roles": ["data", "labels"],
            },
            "samples": {
                "href": "./samples.parquet",
                "type": "application/vnd.apache.parquet",
                "title": "A row a sample: footprint, cell, split",
                "roles": ["metadata", "labels"],
            },
            "report": {
                "href": "./report.json",
                "type": "application/json",
                "title": "Class balance, remarks, provenance",
                "roles": ["metadata"],
            },
        },
    }
