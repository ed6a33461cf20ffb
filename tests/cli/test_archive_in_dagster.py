"""A new Dagster database gets the published products from the catalogue, so that they are not made again."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
from click.testing import CliRunner, Result

from earthsignature_assets.automation.sensors import accepted_scenes
from earthsignature_assets.cli.chain import open_instance
from earthsignature_assets.cli.main import main
from earthsignature_assets.resources.discovery_window import DiscoveryWindow

WHOLE_ARCHIVE = {"EARTHSIGNATURE_WINDOW_DAYS": "100000"}


def report(home: Path, environment: dict[str, str] = WHOLE_ARCHIVE) -> Result:
    return CliRunner().invoke(
        main, ["catalogue", "tell-dagster", "--home", str(home)], env={"COLUMNS": "150"} | environment
    )


def test_products_of_the_catalogue_are_materialised_without_a_run(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.settings.home / "store", tmp_path / "store")
    done = report(tmp_path)
    assert done.exit_code == 0, done.output
    assert ": 1 reported to Dagster, 0 known to it" in done.output
    product = deployment.product
    with open_instance(tmp_path) as instance:
        assert instance.get_dynamic_partitions("scene") == [str(product.scene)]
        assert instance.get_dynamic_partitions("model_version") == [str(product.model)]
        (event,) = instance.fetch_materializations(dg.AssetKey("land_cover_product"), limit=10).records
        assert event.partition_key == f"{product.model}|{product.scene}"
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["product"].value == product.product_id
        assert (event.asset_materialization.tags or {})["dagster/partition/scene"] == str(product.scene)
        context = dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow()})
        (skipped,) = accepted_scenes(context)  # type: ignore[misc]
        assert isinstance(skipped, dg.SkipReason)
    assert "0 reported to Dagster, 1 known to it" in report(tmp_path).output


def test_products_past_the_working_window_stay_in_the_archive_alone(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.settings.home / "store", tmp_path / "store")
    assert "0 products since" in report(tmp_path, {"EARTHSIGNATURE_WINDOW_DAYS": "0"}).output
    with open_instance(tmp_path) as instance:
        assert instance.get_dynamic_partitions("scene") == []


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    done = report(tmp_path)
    assert done.exit_code == 1
    assert "does not exist" in done.output
