"""A Dagster database that was lost: a new one learns from the catalogue what need not be made again."""

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


def tell(home: Path, environment: dict[str, str] = WHOLE_ARCHIVE) -> Result:
    return CliRunner().invoke(
        main, ["catalogue", "tell-dagster", "--home", str(home)], env={"COLUMNS": "150"} | environment
    )


def test_what_the_catalogue_has_is_materialised_again_without_a_run(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.settings.home / "store", tmp_path / "store")
    done = tell(tmp_path)
    assert done.exit_code == 0, done.output
    assert "Dagster was told of 1 " in done.output
    product = deployment.product
    with open_instance(tmp_path) as instance:
        assert instance.get_dynamic_partitions("scene") == [str(product.scene)]
        assert instance.get_dynamic_partitions("model_version") == [str(product.model)]
        (event,) = instance.fetch_materializations(dg.AssetKey("land_cover_product"), limit=10).records
        assert event.partition_key == f"{product.model}|{product.scene}"
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["product"].value == product.product_id
        assert event.asset_materialization.tags["dagster/partition/scene"] == str(product.scene)
        context = dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow()})
        (skipped,) = accepted_scenes(context)  # type: ignore[misc]
        assert isinstance(skipped, dg.SkipReason)
    assert "told of 0 and knew the others" in tell(tmp_path).output


def test_what_is_past_the_working_window_stays_in_the_archive_alone(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.settings.home / "store", tmp_path / "store")
    assert "0 products since" in tell(tmp_path, {"EARTHSIGNATURE_WINDOW_DAYS": "0"}).output
    with open_instance(tmp_path) as instance:
        assert instance.get_dynamic_partitions("scene") == []


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = tell(tmp_path)
    assert done.exit_code == 1
    assert "does not exist" in done.output
