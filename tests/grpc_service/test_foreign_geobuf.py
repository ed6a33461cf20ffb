"""Version 2 of a real product, read by the independent `geobuf` package of PyPI."""

from collections.abc import Iterator

import geobuf
import geopandas as gpd
import numpy as np
import pytest
import shapely

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.products.product import Asset
from earthsignature_grpc.client import EarthSignatureClient
from tests.conftest import Deployment


@pytest.fixture(scope="module")
def client(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EarthSignatureClient]:
    log = tmp_path_factory.mktemp("geobuf") / "service.log"
    with service_process(deployment.workspace.store.root, log) as address, EarthSignatureClient(address) as client:
        yield client


def test_every_polygon_arrives_as_it_was_published(client: EarthSignatureClient, deployment: Deployment) -> None:
    (product,) = client.polygons_v2()
    collection = geobuf.decode(product.geobuf)
    published = gpd.read_parquet(deployment.workspace.store.path(deployment.product, Asset.POLYGONS))
    assert len(collection["features"]) == len(published) > 20
    for feature, (_, row) in zip(collection["features"], published.iterrows(), strict=True):
        decoded = shapely.geometry.shape(feature["geometry"])
        assert shapely.equals_exact(decoded, shapely.transform(row.geometry, _to_six_decimals), tolerance=0)
        facts = feature["properties"]
        assert (facts["code"], facts["name"], facts["area_m2"]) == (row.code, row["name"], row.area_m2)
        assert facts["mean_confidence"] == round(float(row.mean_confidence), 1)
    assert collection["product_id"] == deployment.product.product_id


def test_our_reader_and_theirs_agree(client: EarthSignatureClient) -> None:
    (product,) = client.polygons_v2()
    ours, theirs = product.frame(), geobuf.decode(product.geobuf)
    assert ours.index.tolist() == [feature["id"] for feature in theirs["features"]]
    assert ours.geometry.tolist() == [shapely.geometry.shape(feature["geometry"]) for feature in theirs["features"]]
    assert ours.drop(columns="geometry").to_dict("records") == [feature["properties"] for feature in theirs["features"]]


def test_names_carry_footprint_and_facts(client: EarthSignatureClient, deployment: Deployment) -> None:
    (product,) = client.product_features_v2()
    feature = geobuf.decode(product.geobuf)
    decoded = shapely.geometry.shape(feature["geometry"])
    assert decoded.equals(shapely.transform(deployment.product.footprint, _to_six_decimals))
    facts = feature["properties"]
    assert facts["product_id"] == deployment.product.product_id
    assert facts["categories"] == sorted(deployment.product.class_codes)


def _to_six_decimals(vertices: np.ndarray) -> np.ndarray:
    return np.round(vertices * 1e6) / 1e6
