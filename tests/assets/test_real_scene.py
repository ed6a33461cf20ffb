"""The real Hațeg scene through the same chain to the same API answers, checked against its labelled polygons."""

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from shapely import box, transform
from shapely.geometry import mapping

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.providers.provider import PROVIDERS
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.pictures import Panel, land_cover, png, side_by_side, true_colour
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import serve_files, serve_stac
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.client import EarthSignatureClient, PolygonProduct, RasterProduct
from recipes.corine_unet.data import read_hateg
from recipes.corine_unet.folds import split_polygons
from recipes.corine_unet.label_groups import judge_polygons

DAY = dt.date(2018, 10, 16)
KEY = SceneKey(DAY, 93, "34TFR")
MODEL = ModelVersion("corine-unet", 1)
PRODUCT = "S2B_MSIL2A_20181016T092029_N0209_R093_T34TFR_20181016T143428"
PICTURE = Path("build/pictures/hateg.png")


def item_around(bands: Path, base_url: str) -> dict[str, Any]:
    """The STAC item of the crop, in the words of Earth Search's `sentinel-2-l2a`; its baseline has no offset."""
    provider = PROVIDERS["earth-search-l2a"]
    with rasterio.open(bands / "B02.tif") as dataset:
        epsg, bounds = dataset.crs.to_epsg(), dataset.bounds
    project = Transformer.from_crs(epsg, 4326, always_xy=True).transform
    footprint = transform(box(*bounds), lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1])))
    assets = {}
    for band, key in (*provider.band_assets.items(), ("SCL", provider.classification_asset)):
        with rasterio.open(bands / f"{band}.tif") as dataset:
            assets[key] = {
                "href": f"{base_url}/{band}.tif",
                "type": "image/tiff; application=geotiff",
                "proj:shape": list(dataset.shape),
                "proj:transform": list(dataset.transform)[:6],
                "raster:bands": [{"scale": 0.0001, "offset": 0, "data_type": dataset.dtypes[0]}],
                "roles": ["data"],
            }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": "S2B_34TFR_20181016_0_L2A",
        "collection": provider.collection,
        "geometry": mapping(footprint),
        "bbox": list(footprint.bounds),
        "links": [],
        "assets": assets,
        "properties": {
            "datetime": "2018-10-16T09:20:29Z",
            "platform": "sentinel-2b",
            "proj:epsg": epsg,
            "grid:code": "MGRS-34TFR",
            "s2:product_type": "S2MSI2A",
            "s2:product_uri": f"{PRODUCT}.SAFE",
            "s2:processing_baseline": "02.09",
            "s2:generation_time": "2018-10-16T14:34:28Z",
            "earthsearch:boa_offset_applied": False,
        },
    }


def write_classification(bands: Path) -> None:
    """The crop comes without a classification: 7 (unclassified, clear) where it was observed, 0 where not.

    The sky of the crop is clear, as its true colour shows; what is tested here is not the cloud mask.
    """
    with rasterio.open(bands / "B11.tif") as dataset:
        profile, observed = dataset.profile, dataset.read(1) != dataset.nodata
    profile |= {"dtype": "uint8", "nodata": 0}
    with rasterio.open(bands / "SCL.tif", "w", **profile) as dataset:
        dataset.write(np.where(observed, 7, 0).astype(np.uint8), 1)


@pytest.fixture(scope="module")
def answers(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RasterProduct, PolygonProduct]:
    home = tmp_path_factory.mktemp("hateg")
    bands = home / "bands"
    shutil.copytree(real_data / "s2_hateg_34TFR_20181016" / "bands", bands)
    write_classification(bands)
    with serve_files(bands) as base_url:
        item = home / "item.json"
        item.write_text(json.dumps(item_around(bands, base_url)))
        with serve_stac([item]) as stac_api, open_instance(home) as instance:
            settings = Settings(home=home, provider="earth-search-l2a", stac_api=stac_api, area="34TFR")
            chain = Chain(settings, instance)
            chain.discover(DAY)
            assert chain.scenes(DAY) == [KEY]
            chain.fetch(KEY)
            chain.segment(KEY, MODEL)
    with service_process(home / "store", home / "service.log") as address, EarthSignatureClient(address) as client:
        (raster,) = client.segmentations_v1(start=DAY, end=DAY)
        (polygons,) = client.polygons_v2(product_ids=[PRODUCT])
        assert list(client.product_ids(categories=["Rice fields"])) == []
    return home, raster, polygons


def test_the_answer_is_the_scene(answers: tuple[Path, RasterProduct, PolygonProduct], real_data: Path) -> None:
    _, raster, _ = answers
    assert (raster.product_id, raster.product_type, raster.acquired_on) == (PRODUCT, "S2MSI2A", DAY)
    codes = raster.land_cover_array()
    assert codes.rio.crs.to_epsg() == 32634
    with rasterio.open(real_data / "s2_hateg_34TFR_20181016" / "bands" / "B02.tif") as dataset:
        assert codes.rio.bounds() == tuple(dataset.bounds)
        unobserved = dataset.read(1) == dataset.nodata
    assert not codes.to_numpy()[unobserved].any()
    assert set(np.unique(codes)) <= {0, *shipped_repository().describe(MODEL).class_codes}
    assert (codes > 0).mean() > 0.95


def test_polygons_and_raster_have_the_same_areas(answers: tuple[Path, RasterProduct, PolygonProduct]) -> None:
    _, raster, polygons = answers
    frame = polygons.frame()
    assert frame.geometry.is_valid.all()
    codes = raster.land_cover_array().to_numpy()
    hectares = frame.to_crs(32634).area.groupby(frame["code"]).sum() / 1e4
    for code in np.unique(codes[codes > 0]):
        # The sieve moves what is below a quarter of a hectare.
        assert hectares[code] == pytest.approx((codes == code).sum() / 100, rel=0.2)
    assert hectares.sum() == pytest.approx((codes > 0).sum() / 100, rel=0.001)


def test_the_held_out_polygons_are_as_accurate_as_measured(
    answers: tuple[Path, RasterProduct, PolygonProduct], real_data: Path
) -> None:
    _, raster, _ = answers
    truth = read_hateg(real_data / "s2_hateg_34TFR_20181016")
    _, held_out = split_polygons(truth.labels)
    description = shipped_repository().describe(MODEL)
    codes = raster.land_cover_array().to_numpy()
    assert (codes[np.isin(truth.polygons, held_out)] > 0).all()
    figures = judge_polygons(truth, held_out, codes, description.class_codes)
    measured = json.loads((shipped_repository().folder(MODEL) / "evaluation.json").read_text())["hateg"]
    assert figures["held_out_polygons"] == measured["held_out_polygons"]
    for name in ("pixels_grouped", "polygons_grouped"):
        expected = measured[name]["overall_accuracy"]
        assert figures[name]["overall_accuracy"] == pytest.approx(expected, abs=0.02)


def test_it_leaves_its_picture(answers: tuple[Path, RasterProduct, PolygonProduct], real_data: Path) -> None:
    home, raster, _ = answers
    patches = PatchStore(Workspace(home=str(home)).patches(KEY))
    red, green, blue = (patches.reflectance(slice(None))[S2_BANDS.index(band)] for band in ("B04", "B03", "B02"))
    truth = read_hateg(real_data / "s2_hateg_34TFR_20181016")
    labelled = truth.codes(range(1, len(truth.labels) + 1))
    codes = raster.land_cover_array().to_numpy()
    sheet = side_by_side(
        [
            Panel("input", true_colour(red, green, blue)),
            Panel("labelled polygons", land_cover(labelled)),
            Panel(f"answered by the service, {raster.model}", land_cover(codes)),
        ],
        legend=sorted({int(code) for code in np.unique(codes) if code}),
        title=f"Hațeg, {KEY}",
    )
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_bytes(png(sheet))
    assert len({tuple(pixel) for pixel in sheet.reshape(-1, 3)[::50]}) > 50
