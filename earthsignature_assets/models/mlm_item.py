"""The STAC item of a model version with the machine-learning-model extension, from which products derive.

Its assets lie next to it in the item's folder, wherever the archive is served from.
"""

import hashlib
from pathlib import Path
from typing import Any

from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.nomenclature import class_of

_EXTENSIONS = ("mlm/v1.6.0", "file/v2.1.0", "classification/v2.0.0")
_TASK = "semantic-segmentation"
_PLANE = ["batch", "height", "width"]
# A model has neither place nor time: the item covers Europe since the first Sentinel-2 image.
_EUROPE = (-25.0, 34.0, 45.0, 72.0)
_FIRST_IMAGE, _OPEN_END = "2015-06-27T00:00:00Z", "9999-12-31T23:59:59Z"


# Files of a version's folder that accompany its item: name, media type, title, role.
_BESIDE = (
    ("model.json", "application/json", "Input and classes of the version", "metadata"),
    ("card.md", "text/markdown", "The model card", "metadata"),
    ("evaluation.json", "application/json", "Figures on held-out data", "metadata"),
    ("evaluation.png", "image/png", "Input, ground truth and prediction", "overview"),
)


def mlm_item(description: ModelDescription, folder: Path) -> dict[str, Any]:
    """Return the STAC 1.1 item of a model version as plain JSON values.

    Args:
        description: the version's `model.json`.
        folder: the version's folder in the repository; the item's assets are its files.
    """
    west, south, east, north = _EUROPE
    classes = [
        {"value": index, "name": class_of(entry.code).slug, "description": f"{entry.code}: {entry.meaning}"}
        for index, entry in enumerate(description.classes, 1)
    ]
    # The extension requires the bands of an input to be in the item, and the core requires an asset that has them.
    bands = [{"name": band} for band in description.bands]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in _EXTENSIONS],
        "id": str(description.model),
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "bbox": list(_EUROPE),
        "properties": {
            "title": f"{description.model}: CORINE land cover from Sentinel-2 {description.level}",
            "datetime": None,
            "start_datetime": _FIRST_IMAGE,
            "end_datetime": _OPEN_END,
            "gsd": description.resolution_m,
            "bands": bands,
            "mlm:name": str(description.model),
            "mlm:architecture": description.architecture,
            "mlm:tasks": [_TASK],
            "mlm:framework": "ONNX",
            "mlm:pretrained": True,
            "mlm:input": [
                {
                    "name": "reflectance",
                    "bands": list(description.bands),
                    "input": {
                        "shape": [-1, len(description.bands), -1, -1],
                        "dim_order": ["batch", "bands", "height", "width"],
                        "data_type": "uint16",
                    },
                    "description": f"{description.level} reflectance × 10000, 0 = no data; scaled inside the graph",
                }
            ],
            "mlm:output": [
                {
                    "name": "class_index",
                    "tasks": [_TASK],
                    "result": {"shape": [-1, -1, -1], "dim_order": _PLANE, "data_type": "uint8"},
                    "classification:classes": classes,
                },
                {
                    "name": "confidence",
                    "tasks": [_TASK],
                    "result": {"shape": [-1, -1, -1], "dim_order": _PLANE, "data_type": "uint8"},
                    "description": "percent",
                },
            ],
        },
        "links": [],
        "assets": {
            "model": {
                "href": "./model.onnx",
                "type": "application/octet-stream; framework=onnx",
                "title": "The network as an ONNX graph",
                "roles": ["mlm:model"],
                "bands": bands,
                "mlm:artifact_type": "onnx",
                "file:checksum": f"1220{description.sha256}",
            }
        }
        | {
            name.replace(".", "_"): {
                "href": f"./{name}",
                "type": media_type,
                "title": title,
                "roles": [role],
                "file:checksum": f"1220{hashlib.sha256((folder / name).read_bytes()).hexdigest()}",
            }
            for name, media_type, title, role in _BESIDE
            if (folder / name).is_file()
        },
    }
