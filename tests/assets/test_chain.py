"""The assets together, from a STAC search to a published product."""

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import rasterio

from earthsignature_assets.cli.chain import Chain, RunFailedError
from earthsignature_assets.definitions import definitions
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import ModelRepository, shipped_repository
from earthsignature_assets.nomenclature import known_codes
from earthsignature_assets.products.catalogue.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.item import model_item_name
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore

DAY = dt.date(2026, 5, 1)
MODEL = ModelVersion("corine-unet", 1)
CLEAR = SceneKey(DAY, 22, "32TQM")


def published(store: ProductStore, query: ProductQuery | None = None) -> list[Product]:
    with store.open_catalogue(read_only=True) as catalogue:
        return list(catalogue.search(query or ProductQuery()))


def metadata(deployment: Any, asset: str, partition: str) -> dict[str, Any]:
    records = deployment.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records
    event = records[0].asset_materialization
    assert event is not None
    return {
        name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in event.metadata.items()
    }


def test_only_the_clear_scene_became_a_partition(deployment: Any) -> None:
    assert deployment.chain.scenes(DAY) == [CLEAR]
    verdicts = {verdict.key.tile: verdict for verdict in deployment.chain.verdicts(DAY)}
    assert verdicts["32TQM"].accepted
    assert "cloud covers" in verdicts["33TUG"].reason


def test_the_product_is_published_once_with_all_its_files(deployment: Any) -> None:
    (product,) = published(deployment.workspace.store)
    assert product == deployment.product
    assert product.scene == CLEAR
    assert product.model == MODEL
    assert product.current
    for asset in Asset:
        assert len(deployment.workspace.store.read(product, asset)) > 100


def test_the_item_of_the_product_and_what_it_links_to_are_stac(
    deployment: Any, stac_faults: Callable[[dict[str, Any]], list[str]]
) -> None:
    product, storage = deployment.product, deployment.workspace.store.storage
    for name in (f"{product.folder}/item.json", "collection.json", model_item_name(product.model)):
        assert stac_faults(json.loads(storage.read(name))) == [], name


def test_outside_the_swath_is_zero_in_every_raster_and_never_a_class(deployment: Any) -> None:
    with rasterio.open(deployment.scenes[CLEAR].truth) as dataset:
        outside = dataset.read(1) == 0
    assert outside.mean() > 0.25
    store = deployment.workspace.store
    with rasterio.open(store.path(deployment.product, Asset.LAND_COVER)) as dataset:
        codes = dataset.read(1)
        assert dataset.dtypes == ("uint16",)
        assert dataset.nodata == 0
    assert not codes[outside].any()
    assert known_codes()[codes].all()
    assert (codes[~outside] > 0).mean() > 0.95  # the eroded edge alone is missing
    with rasterio.open(store.path(deployment.product, Asset.CONFIDENCE)) as dataset:
        assert (dataset.read(1, masked=True).mask == (codes == 0)).all()
    with rasterio.open(store.path(deployment.product, Asset.CLOUD_MASK)) as dataset:
        cloud = dataset.read(1)
        assert dataset.res == (20.0, 20.0)
    assert not cloud[outside[::2, ::2] & outside[1::2, 1::2]].any()
    assert 0 < cloud.mean() < 0.6


def test_the_map_agrees_with_the_simulated_truth(deployment: Any) -> None:
    with rasterio.open(deployment.scenes[CLEAR].truth) as dataset:
        truth = dataset.read(1)
    with rasterio.open(deployment.workspace.store.path(deployment.product, Asset.LAND_COVER)) as dataset:
        codes = dataset.read(1)
    with rasterio.open(deployment.workspace.store.path(deployment.product, Asset.CLOUD_MASK)) as dataset:
        cloud = np.kron(dataset.read(1), np.ones((2, 2), np.uint8)) == 1
    seen = (codes > 0) & ~cloud
    assert (codes[seen] == truth[seen]).mean() > 0.5  # chance is an eighth


def test_materialisations_have_their_metadata(deployment: Any) -> None:
    day, scene = DAY.isoformat(), str(CLEAR)
    both = dg.MultiPartitionKey({"scene": scene, "model_version": str(MODEL)})
    found = metadata(deployment, "discovered_items", day)
    assert (found["items"], found["collection"]) == (2, "sentinel-2-c1-l2a")
    judged = metadata(deployment, "clear_scenes", day)
    assert (judged["scenes"], judged["accepted"], judged["refused"]) == (2, 1, 1)
    assert "base64" in judged["map"]
    fetched = metadata(deployment, "patches", scene)
    assert fetched["valid_percent"] == pytest.approx(70, abs=4)
    assert fetched["offset_added"] == -1000
    assert "base64" in fetched["true_colour"]
    segmented = metadata(deployment, "segmentation", both)
    assert segmented["valid_pixels"] == pytest.approx(0.7 * 320 * 320, rel=0.06)
    raster = metadata(deployment, "land_cover_raster", both)
    hectares = sum(record.data["hectares"] for record in raster["classes"])
    assert hectares == pytest.approx(segmented["valid_pixels"] * 100 / 10_000, abs=0.1)
    assert metadata(deployment, "land_cover_polygons", both)["polygons"] > 5
    assert metadata(deployment, "land_cover_product", both)["served_by_default"] is True


def test_a_rerun_gives_identical_files_and_no_second_product(deployment: Any) -> None:
    store = deployment.workspace.store
    before = {asset: store.read(deployment.product, asset) for asset in Asset}
    deployment.chain.discover(DAY)
    deployment.chain.fetch(CLEAR)
    again = deployment.chain.segment(CLEAR, MODEL)
    assert again == deployment.product
    assert {asset: store.read(again, asset) for asset in Asset} == before
    assert len(published(store)) == 1
    assert len(list((store.root / "products").glob("*/*/*"))) == 1


def test_a_new_model_version_touches_no_imagery_and_is_served_once_promoted(deployment: Any, tmp_path: Path) -> None:
    models = tmp_path / "models"
    source = shipped_repository().folder(MODEL)
    for version in ("1", "2"):
        shutil.copytree(source, models / "corine-unet" / version)
    described = models / "corine-unet" / "2" / "model.json"
    described.write_text(described.read_text().replace('"version": 1', '"version": 2'))
    second = ModelVersion("corine-unet", 2)
    assert ModelRepository(models).versions() == [MODEL, second]

    home = tmp_path / "home"
    shutil.copytree(deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster"))
    settings = dataclasses.replace(deployment.settings, home=home, models=str(models))
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(settings, instance)
        instance.add_dynamic_partitions("scene", [str(CLEAR)])
        chain.segment(CLEAR, second)
        touched = {
            str(run.asset_selection or run.job_name) for run in instance.get_runs() if run.job_name == "scene_patches"
        }
    assert touched == set()
    store = ProductStore(home / "store")
    assert [product.model for product in published(store)] == [MODEL]
    assert [product.model for product in published(store, ProductQuery(model=second))] == [second]
    with store.open_catalogue() as catalogue:
        catalogue.promote(second, who="tests")
    assert [product.model for product in published(store)] == [second]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (SceneKey(DAY, 22, "31TGJ"), "discovered_items"),
        (SceneKey(dt.date(2026, 4, 1), 22, "32TQM"), "discovered_items"),
    ],
)
def test_a_scene_key_without_an_item_fails_with_the_remedy(deployment: Any, key: SceneKey, message: str) -> None:
    with pytest.raises(RunFailedError, match=message):
        deployment.chain.fetch(key)
    deployment.instance.delete_dynamic_partition("scene", str(key))


def test_a_scene_key_that_does_not_parse_fails_by_name(deployment: Any) -> None:
    deployment.instance.add_dynamic_partitions("scene", ["2026-05-01_T32TQM"])
    job = definitions(deployment.settings).resolve_job_def("scene_patches")
    with pytest.raises(dg.Failure, match="'2026-05-01_T32TQM' is not a scene key") as failure:
        job.execute_in_process(instance=deployment.instance, partition_key="2026-05-01_T32TQM")
    assert failure.value.allow_retries is False
    deployment.instance.delete_dynamic_partition("scene", "2026-05-01_T32TQM")


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_crash_before_publication_leaves_nothing_that_readers_see(
    deployment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster", "store"))
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(dataclasses.replace(deployment.settings, home=home), instance)
        instance.add_dynamic_partitions("scene", [str(CLEAR)])
        with monkeypatch.context() as crash:
            crash.setattr(Catalogue, "record", raising(RuntimeError("killed between rename and row")))
            with pytest.raises(RuntimeError, match="killed"):
                chain.segment(CLEAR, MODEL)
        assert published(ProductStore(home / "store")) == []
        assert chain.segment(CLEAR, MODEL).scene == CLEAR
    assert len(published(ProductStore(home / "store"))) == 1


def test_an_absent_model_version_fails_by_name(deployment: Any) -> None:
    with pytest.raises(RunFailedError, match="corine-unet-v9 is not in the model repository"):
        deployment.chain.segment(CLEAR, ModelVersion("corine-unet", 9))
    deployment.instance.delete_dynamic_partition("model_version", "corine-unet-v9")


def test_patches_that_retention_removed_are_fetched_again_and_recorded(deployment: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(
        deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster", "patches", "store")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(dataclasses.replace(deployment.settings, home=home), instance)
        instance.add_dynamic_partitions("scene", [str(CLEAR)])
        again = chain.segment(CLEAR, MODEL)
        assert instance.get_materialized_partitions(dg.AssetKey("patches")) == {str(CLEAR)}
        chain.segment(CLEAR, MODEL)
        assert len(instance.fetch_materializations(dg.AssetKey("patches"), limit=5).records) == 1
    assert again.product_id == deployment.product.product_id


def test_patches_that_cannot_be_fetched_again_say_what_to_materialise(deployment: Any, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(dataclasses.replace(deployment.settings, home=tmp_path), instance)
        instance.add_dynamic_partitions("scene", [str(CLEAR)])
        with pytest.raises(RunFailedError, match="materialise `discovered_items` for 2026-05-01"):
            chain.segment(CLEAR, MODEL)


def test_a_day_without_items_is_a_day_without_scenes(deployment: Any) -> None:
    empty = dt.date(2026, 5, 2)
    deployment.chain.discover(empty)
    assert deployment.chain.scenes(empty) == []
    assert metadata(deployment, "clear_scenes", empty.isoformat())["scenes"] == 0
