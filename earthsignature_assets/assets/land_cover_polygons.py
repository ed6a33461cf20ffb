"""`land_cover_polygons`: the polygons of a product and its encoded v2 message, in the draft."""

import dagster as dg
import numpy as np

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.checks.finding import Finding
from earthsignature_assets.assets.checks.polygons import SPECS, check_polygons
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.metadata import Materialised, table
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons import generalisation
from earthsignature_assets.products.polygons.geobuf import encode_feature_collection
from earthsignature_assets.products.polygons.geoparquet import write_geoparquet
from earthsignature_assets.products.product import Asset
from earthsignature_assets.resources.cartography import Cartography
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.system.atomic import write_whole


@scene_model_asset(
    deps=[land_cover_raster],
    check_specs=SPECS,
    group_name="land_cover",
    code_version="1",
    tags={"retention": "transient"},
    kinds={"parquet"},
)
def land_cover_polygons(
    context: dg.AssetExecutionContext, engine: InferenceEngine, workspace: Workspace, cartography: Cartography
) -> Materialised:
    """Polygons, sieved, traced and simplified as one coverage: GeoParquet, and the geobuf message that v2 serves."""

    def make(key: SceneKey, model: ModelVersion) -> Metadata:
        draft = Draft.load(workspace.draft(key, model))
        segments = SegmentationStore(workspace.segmentation(key, model))
        codes = engine.repository.describe(model).code_table[segments.class_index]
        made = generalisation.land_cover_polygons(
            codes, segments.confidence, draft.grid, draft.product_id, model, cartography.generalisation
        )
        write_geoparquet(made.layer, draft.path(Asset.POLYGONS), made.facts())
        write_whole(draft.path(Asset.GEOBUF), encode_feature_collection(made.layer))
        counts = np.bincount(made.layer.codes, minlength=1000)
        return {
            "polygons": len(made.layer),
            "regions_before_sieve": made.raw_count,
            "vertices": len(made.layer.coordinates),
            "minimum_mapping_unit_ha": made.generalisation.min_area_m2 / 10_000,
            "simplification_tolerance_m": made.generalisation.tolerance_m,
            "parquet_kb": draft.path(Asset.POLYGONS).stat().st_size // 1000,
            "geobuf_kb": draft.path(Asset.GEOBUF).stat().st_size // 1000,
            "classes": table(
                [
                    {
                        "code": code,
                        "class": class_of(code).name,
                        "polygons": int(counts[code]),
                        "hectares": round(area.sieved_m2 / 10_000, 2),
                        "sieve changed by %": round(100 * area.sieve_change, 2),
                        "simplification changed by %": round(100 * area.simplification_change, 3),
                    }
                    for code, area in sorted(made.class_areas.items(), key=lambda entry: -entry[1].raster_m2)
                ]
            ),
        }

    def check(key: SceneKey, model: ModelVersion) -> list[Finding]:
        return check_polygons(Draft.load(workspace.draft(key, model)))

    return materialise_each(context, make, check)
