"""A deployment whose products are on S3 and whose catalogue is in PostGIS, from a STAC search to a gRPC answer."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pystac
import pytest
from click.testing import CliRunner

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.cli.main import main
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.client import EarthSignatureClient

pytestmark = pytest.mark.services

DAY = dt.date(2026, 5, 1)
SCENE = SceneKey(DAY, 22, "32TQM")
MODEL = ModelVersion("corine-unet", 1)


def test_the_chain_publishes_to_s3_and_the_service_answers_from_there(
    new_bucket: Callable[[], str], new_postgis_schema: Callable[[], str], tmp_path: Path
) -> None:
    location, catalogue = new_bucket(), new_postgis_schema()
    with serve_files(tmp_path / "simulated") as base_url:
        scene = simulate_scene(SceneRecipe(SCENE, size=128), tmp_path / "simulated", base_url)
        with serve_stac([scene.item_path]) as api, open_instance(tmp_path) as instance:
            settings = Settings(home=tmp_path, stac_api=api, area="32TQM", store=location, catalogue=catalogue)
            chain = Chain(settings, instance)
            chain.discover(DAY)
            chain.fetch(SCENE)
            product = chain.segment(SCENE, MODEL)
    assert not (tmp_path / "store").exists()
    store = ProductStore(location, catalogue)
    log = tmp_path / "service.log"
    with service_process(location, log, catalogue=catalogue) as address, EarthSignatureClient(address) as client:
        [raster] = client.segmentations_v1()
        [polygons] = client.polygons_v2()
        [listed] = client.products()
        geoparquet = client.read(listed.product_id, "polygons")
        [summary] = client.summarise(product.footprint, interval="month")
    assert raster.product_id == product.product_id
    assert raster.land_cover == store.read(product, Asset.LAND_COVER)
    assert len(polygons.frame()) > 0
    assert geoparquet == store.read(product, Asset.POLYGONS)
    assert summary.product_ids == [product.product_id]
    assert {area.code for area in summary.classes} <= product.class_codes
    assert sum(area.area_m2 for area in summary.classes) + summary.cloudy_m2 > 0
    variables = {"EARTHSIGNATURE_STORE": location, "EARTHSIGNATURE_CATALOGUE": catalogue}
    for command in (["verify"], ["sweep"], ["catalogue", "rebuild"], ["catalogue", "export", str(tmp_path / "stac")]):
        done = CliRunner().invoke(main, [*command, "--home", str(tmp_path)], env=variables)
        assert done.exit_code == 0, done.output
    [item] = pystac.Catalog.from_file(str(tmp_path / "stac/catalog.json")).get_items(recursive=True)
    assert item.assets["land_cover"].href == f"{location}/{product.folder}/land_cover.tif"
    [model] = [link.absolute_href for link in item.links if link.rel == "derived_from" and str(MODEL) in link.href]
    graph = pystac.Item.from_file(model).assets["model"]
    assert graph.href == f"{location}/models/{MODEL}/model.onnx"
