"""`land_cover_polygons`: the polygons of a product and its ready v2 message, in the draft."""

import dagster as dg

from earthsignature_assets.assets.batch import Metadata, materialise_each, scene_model_asset
from earthsignature_assets.assets.land_cover_raster import land_cover_raster
from earthsignature_assets.assets.metadata import table
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products import polygons
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.geobuf import encode_feature_collection
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.raster import class_areas
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


@scene_model_asset(
    deps=[land_cover_raster],
    group_name="land_cover",
    kinds={"parquet"},
)
def land_cover_polygons(
    context: dg.AssetExecutionContext, engine: InferenceEngine, workspace: Workspace
) -> dg.MaterializeResult[None]:
    """Sieved, traced and simplified as one coverage: GeoParquet, and the geobuf message that v2 serves."""

    def make(key: SceneKey, model: ModelVersion) -> Metadata:
        draft = Draft.load(workspace.draft(key, model))
        segments = SegmentationStore(workspace.segmentation(key, model))
        codes = engine.repository.describe(model).code_table[segments.class_index]
        made = polygons.land_cover_polygons(codes, segments.confidence, draft.grid, draft.product_id, model)
        polygons.write_geoparquet(made.frame, draft.path(Asset.POLYGONS))
        draft.path(Asset.GEOBUF).write_bytes(encode_feature_collection(made.frame))
        before, after = class_areas(codes, draft.grid), class_areas(made.sieved, draft.grid)
        counts = made.frame["code"].value_counts()
        return {
            "polygons": len(made.frame),
            "vertices": int(made.frame.geometry.count_coordinates().sum()),
            "parquet_kb": draft.path(Asset.POLYGONS).stat().st_size // 1000,
            "geobuf_kb": draft.path(Asset.GEOBUF).stat().st_size // 1000,
            "classes": table(
                [
                    {
                        "code": code,
                        "class": class_of(code).name,
                        "polygons": int(counts.get(code, 0)),
                        "hectares": round(after.get(code, 0.0) / 10_000, 2),
                        "sieve changed by %": round(100 * (after.get(code, 0.0) / area - 1), 2),
                    }
                    for code, area in sorted(before.items(), key=lambda entry: -entry[1])
                ]
            ),
        }

    return materialise_each(context, make)
