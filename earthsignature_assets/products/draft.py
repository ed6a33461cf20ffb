"""A draft: the working folder that the steps of the chain fill, and the facts that they share."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.errors import InvalidKeyError, ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion, SceneKey, parse_product_id, product_type_of, relative_orbit_of
from earthsignature_assets.products.product import Asset

DRAFT_FILE = "draft.json"


@dataclass(frozen=True)
class Draft:
    """One scene × model version before its publication.

    Attributes:
        folder: the working folder; it holds the asset files by their `Asset` names.
        product_id: the Sentinel-2 product name, without `.SAFE`.
        scene: the scene; its tile and relative orbit must match the product name.
        model: the model version.
        product_type: `S2MSI1C` or `S2MSI2A`, matching the product name.
        sensed_at: the acquisition, with a time zone.
        footprint: valid-data footprint in EPSG:4326, a Polygon or MultiPolygon.
        cloud_cover_percent: 0…100, of the valid area.
        source_hrefs: the URL or path of each STAC item that the product derives from; two if a datatake was split.
        grid: the 10 m grid of the land-cover raster.
        model_item: the model version's own STAC item, in the machine-learning-model extension; None if it has none.
        model_folder: folder of the files in the model item's assets, each with the href `./<name>`.
        whole_scene: whether it shows the whole scene, so that it supersedes earlier products of the scene with the
            same baseline.

    Raises:
        ProductError: a fact contradicts another or is out of range.
    """

    folder: Path
    product_id: str
    scene: SceneKey
    model: ModelVersion
    product_type: str
    sensed_at: dt.datetime
    footprint: BaseGeometry
    cloud_cover_percent: float
    source_hrefs: tuple[str, ...]
    grid: PixelGrid
    model_item: dict[str, Any] | None = None
    model_folder: Path | None = None
    whole_scene: bool = True

    def __post_init__(self) -> None:
        try:
            product_id = parse_product_id(self.product_id)
        except InvalidKeyError as error:
            raise ProductError(f"product_id: {error}") from error
        object.__setattr__(self, "product_id", product_id)
        orbit, tile = relative_orbit_of(product_id), product_id.split("_")[5][1:]
        if (orbit, tile) != (self.scene.relative_orbit, self.scene.tile):
            raise ProductError(f"{product_id}: scene {self.scene} is of another orbit or tile than the product name")
        expected_type = product_type_of(product_id)
        if self.product_type != expected_type:
            raise ProductError(f"{product_id}: product_type is {self.product_type!r}, the name says {expected_type}")
        if self.sensed_at.tzinfo is None:
            raise ProductError(f"{product_id}: sensed_at {self.sensed_at} has no time zone; give UTC")
        object.__setattr__(self, "sensed_at", self.sensed_at.astimezone(dt.UTC))
        if not 0 <= self.cloud_cover_percent <= 100:
            raise ProductError(f"{product_id}: cloud_cover_percent {self.cloud_cover_percent} is outside 0…100")
        if self.footprint.geom_type not in ("Polygon", "MultiPolygon") or self.footprint.is_empty:
            raise ProductError(f"{product_id}: the footprint is {self.footprint.geom_type}, not a filled polygon")
        west, south, east, north = self.footprint.bounds
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise ProductError(f"{product_id}: footprint {self.footprint.bounds} is outside longitude and latitude")

    def path(self, asset: Asset) -> Path:
        """Return the path of an asset in the draft, whether it exists yet or not."""
        return self.folder / asset.value

    def save(self) -> None:
        """Write the facts to the working folder, for `load`; the folder is created if absent.

        Raises:
            ProductError: the folder cannot be written.
        """
        content = {
            "product_id": self.product_id,
            "scene": str(self.scene),
            "model": str(self.model),
            "product_type": self.product_type,
            "sensed_at": self.sensed_at.isoformat(),
            "footprint": shapely.to_wkb(self.footprint, hex=True),
            "cloud_cover_percent": self.cloud_cover_percent,
            "source_hrefs": self.source_hrefs,
            "model_item": self.model_item,
            "model_folder": str(self.model_folder) if self.model_folder else None,
            "whole_scene": self.whole_scene,
            "grid": {
                "epsg": self.grid.epsg,
                "left_m": self.grid.left_m,
                "top_m": self.grid.top_m,
                "resolution_m": self.grid.resolution_m,
                "width": self.grid.width,
                "height": self.grid.height,
            },
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / DRAFT_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ProductError(
                f"{self.product_id}: the draft folder {self.folder} cannot be written: {error}"
            ) from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            ProductError: the folder has no draft, or one that cannot be read.
        """
        path = folder / DRAFT_FILE
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                folder=folder,
                product_id=content["product_id"],
                scene=SceneKey.parse(content["scene"]),
                model=ModelVersion.parse(content["model"]),
                product_type=content["product_type"],
                sensed_at=dt.datetime.fromisoformat(content["sensed_at"]),
                footprint=shapely.from_wkb(content["footprint"]),
                cloud_cover_percent=content["cloud_cover_percent"],
                source_hrefs=tuple(content["source_hrefs"]),
                model_item=content["model_item"],
                model_folder=Path(content["model_folder"]) if content.get("model_folder") else None,
                whole_scene=content["whole_scene"],
                grid=PixelGrid(**content["grid"]),
            )
        except FileNotFoundError as error:
            raise ProductError(f"{path} is missing: the step that writes the rasters has not run") from error
        except (OSError, ValueError, KeyError, TypeError, InvalidKeyError, shapely.errors.ShapelyError) as error:
            raise ProductError(f"{path} cannot be read: {error!r}") from error
