import dataclasses
import datetime as dt
import io
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from earthsignature_assets.cli.chain import RunFailedError, open_instance
from earthsignature_assets.cli.missing import find_missing, report_missing
from earthsignature_assets.keys import ModelVersion, SceneKey

TODAY = dt.date(2026, 5, 10)
FIRST, SECOND = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 2)
SCENES = [SceneKey.parse(f"2026-05-0{day}_R022_T32TQM") for day in (1, 8)]


def materialise(instance: dg.DagsterInstance, asset: str, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))


def test_missing_days_and_products_are_found() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert find_missing(instance, TODAY, "", None).days == ()
        instance.add_dynamic_partitions("scene", ["nonsense", *map(str, SCENES)])
        instance.add_dynamic_partitions("model_version", [str(FIRST), str(SECOND), "a|b"])
        for day in ("2026-05-06", "2026-05-08"):
            materialise(instance, "clear_scenes", day)
        materialise(instance, "land_cover_product", f"{FIRST}|{SCENES[1]}")
        lacking = find_missing(instance, TODAY, "", None)
        assert lacking.days == (dt.date(2026, 5, 9), dt.date(2026, 5, 7))
        assert lacking.products == ((SCENES[1], SECOND), (SCENES[0], FIRST), (SCENES[0], SECOND))
        assert lacking.unreadable == ("nonsense", "a|b")
        assert find_missing(instance, TODAY, "05-01", SECOND).products == ((SCENES[0], SECOND),)


def test_missing_products_are_made_and_failures_are_named_last(deployment: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster", "store"))
    settings = dataclasses.replace(deployment.settings, home=home)
    scene, absent = deployment.product.scene, SceneKey.parse("2026-05-01_R022_T31TGJ")
    with open_instance(home) as instance:
        instance.add_dynamic_partitions("scene", [str(scene), str(absent)])
        instance.add_dynamic_partitions("model_version", [str(FIRST)])
    output = io.StringIO()
    with pytest.raises(RunFailedError, match="1 runs failed"):
        report_missing(settings, Console(file=output, width=200), "", None, resume=True)
    assert "2 products are missing" in output.getvalue()
    assert f"by {FIRST}" in output.getvalue()
    assert "materialise `discovered_items`" in output.getvalue()
    with open_instance(home) as instance:
        assert find_missing(instance, TODAY, "", None).products == ((absent, FIRST),)
        instance.delete_dynamic_partition("scene", str(absent))
    output = io.StringIO()
    report_missing(settings, Console(file=output, width=200), "2026-05-01", None, resume=False)
    assert "products are missing" not in output.getvalue()
