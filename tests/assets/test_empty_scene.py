"""A scene of which no pixel is valid, from its patches to what a client gets: a product like any other, and empty."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.imagery.patches.patch_store import PatchStore, create_patch_store
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.client import EarthSignatureClient

SCENE = SceneKey(dt.date(2026, 5, 1), 22, "32TQM")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Product]]:
    home = tmp_path_factory.mktemp("empty")
    with serve_files(home / "simulated") as base_url:
        simulated = simulate_scene(SceneRecipe(SCENE, size=128), home / "simulated", base_url)
        with serve_stac([simulated.item_path]) as api, open_instance(home) as instance:
            settings = Settings(home=home, stac_api=api, area="32TQM")
            chain, workspace = Chain(settings, instance), Workspace.of(settings)
            chain.discover(SCENE.day)
            chain.fetch(SCENE)
            blank(workspace.patches(SCENE))
            yield workspace, chain.segment(SCENE, ModelVersion("corine-unet", 1))


def blank(path: Path) -> None:
    """Make every pixel of a patch store no data, as a swath that only grazes the tile would once it is eroded."""
    seen = PatchStore(path)
    grid, bands = seen.grid, seen.bands
    product = "S2B_MSIL2A_20260501T100559_N0511_R022_T32TQM_20260501T120000"
    nothing = np.zeros(grid.shape, bool)
    with create_patch_store(path, grid, bands, product_id=product) as writer:
        writer.write(grid.whole, np.zeros((len(bands), *grid.shape), np.uint16), ~nothing, nothing)


def test_its_rasters_are_on_the_grid_and_empty(published: tuple[Workspace, Product], tmp_path: Path) -> None:
    workspace, product = published
    for asset in (Asset.LAND_COVER, Asset.CONFIDENCE, Asset.CLOUD_MASK):
        path = tmp_path / str(asset)
        path.write_bytes(workspace.store.read(product, asset))
        with rasterio.open(path) as dataset:
            assert dataset.crs.to_epsg() == 32632
            values = dataset.read(1)
        assert values.size
        assert not values[values != (dataset.nodata or 0)].any()


def test_it_is_found_by_place_and_time_and_by_no_class(published: tuple[Workspace, Product], tmp_path: Path) -> None:
    workspace, product = published
    assert product.class_codes == frozenset()
    with (
        service_process(workspace.store.root, tmp_path / "log") as address,
        EarthSignatureClient(address) as client,
    ):
        assert [found.product_id for found in client.product_ids()] == [product.product_id]
        assert list(client.product_ids(categories=[312])) == []
        (raster,) = client.segmentations_v1()
        assert raster.product_id == product.product_id
        (polygons,) = client.polygons_v2()
        assert len(polygons.frame()) == 0
