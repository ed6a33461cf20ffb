"""The checks on materialisations: each holds on a real product and fails on a damaged one."""

import dataclasses
import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import rasterio

from earthsignature_assets.assets.checks import raster
from earthsignature_assets.assets.checks.clouds import check_clouds
from earthsignature_assets.assets.checks.finding import Finding, check_results
from earthsignature_assets.assets.checks.polygons import check_polygons
from earthsignature_assets.assets.checks.product import check_product
from earthsignature_assets.assets.checks.raster import check_rasters, earlier_of_tile, share_difference_percent
from earthsignature_assets.cli.chain import Chain, RunFailedError
from earthsignature_assets.imagery.days.scene_verdicts import SceneVerdict
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.polygons.geoparquet import read_geoparquet, write_geoparquet
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store.product_store import ProductStore

DAY = dt.date(2026, 5, 1)
MODEL = ModelVersion("corine-unet", 1)
CLEAR = SceneKey(DAY, 22, "32TQM")
DESCRIPTION = shipped_repository().describe(MODEL)


@pytest.fixture
def draft(deployment: Any, tmp_path: Path) -> Draft:
    shutil.copytree(deployment.workspace.draft(CLEAR, MODEL), tmp_path / "draft")
    return Draft.load(tmp_path / "draft")


def rewrite(path: Path, change: Callable[[Any], Any], **profile: Any) -> None:
    with rasterio.open(path) as source:
        values, kept = source.read(1), source.profile
    with rasterio.open(path, "w", **kept | {"driver": "GTiff"} | profile) as target:
        target.write(change(values), 1)


def failing(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.message for finding in findings if not finding.passed}


def rasters(draft: Draft, deployment: Any, **changes: Any) -> dict[str, str]:
    description = dataclasses.replace(DESCRIPTION, **changes)
    return failing(check_rasters(draft, description, PatchStore(deployment.workspace.patches(CLEAR))))


def test_a_real_product_passes_every_check(deployment: Any, draft: Draft) -> None:
    assert rasters(draft, deployment) == {}
    assert failing(check_polygons(draft)) == {}
    assert failing(check_product(deployment.product, deployment.workspace.store)) == {}


def test_a_raster_off_its_grid_is_found(deployment: Any, draft: Draft) -> None:
    rewrite(draft.path(Asset.CONFIDENCE), lambda values: values, crs="EPSG:32633")
    assert "confidence.tif is off the grid" in rasters(draft, deployment)["grid_and_crs"]


def test_codes_that_are_not_classes_of_the_model_are_found(deployment: Any, draft: Draft) -> None:
    assert "are not classes of" in rasters(draft, deployment, classes=DESCRIPTION.classes[:1])["class_codes"]


def test_pixels_that_lost_their_class_are_found(deployment: Any, draft: Draft) -> None:
    rewrite(draft.path(Asset.LAND_COVER), lambda values: np.where(np.arange(values.shape[1]) < 200, 0, values))
    assert "% was observed" in rasters(draft, deployment)["valid_fraction"]


def test_an_unsure_model_is_a_warning(deployment: Any, draft: Draft) -> None:
    rewrite(draft.path(Asset.CONFIDENCE), lambda values: np.minimum(values, 10))
    assert "look at the picture" in rasters(draft, deployment)["confidence"]


def test_a_jump_of_the_classes_names_the_class_that_jumped(deployment: Any, draft: Draft) -> None:
    patches = PatchStore(deployment.workspace.patches(CLEAR))
    findings = check_rasters(draft, DESCRIPTION, patches, [(deployment.product, {523: 1e6})])
    (jump,) = [finding for finding in findings if not finding.passed]
    assert (jump.check, jump.warns) == ("class_areas", True)
    assert "Sea and ocean" in jump.message
    assert str(CLEAR) in jump.message


def test_earlier_products_of_the_tile_are_compared(deployment: Any, draft: Draft) -> None:
    assert earlier_of_tile(draft, deployment.workspace.store) == []
    later = dataclasses.replace(
        draft,
        product_id=draft.product_id.replace("20260501T", "20260506T"),
        scene=dataclasses.replace(CLEAR, day=DAY + dt.timedelta(days=5)),
        sensed_at=draft.sensed_at + dt.timedelta(days=5),
    )
    ((product, areas),) = earlier_of_tile(later, deployment.workspace.store)
    assert product == deployment.product
    assert sum(areas.values()) > 0
    reprocessed = dataclasses.replace(draft, product_id=draft.product_id.replace("_N0511_", "_N0512_"))
    assert reprocessed.product_id != draft.product_id
    assert earlier_of_tile(reprocessed, deployment.workspace.store) == []
    assert earlier_of_tile(later, ProductStore(Path("nowhere"))) == []


@pytest.mark.parametrize(
    ("now", "then", "percent"),
    [({211: 1.0}, {211: 9.0}, 0), ({211: 1.0}, {311: 1.0}, 100), ({211: 1.0, 311: 1.0}, {211: 1.0}, 50), ({}, {}, 0)],
)
def test_shares_are_compared_not_areas(now: dict[int, float], then: dict[int, float], percent: float) -> None:
    assert share_difference_percent(now, then) == pytest.approx(percent)


def test_polygons_that_overlap_or_are_missing_are_found(draft: Draft) -> None:
    path = draft.path(Asset.POLYGONS)
    polygons = read_geoparquet(path)
    coordinates = polygons.coordinates.copy()
    coordinates[: polygons.ring_offsets[polygons.polygon_offsets[1]]] += 1e-4
    write_geoparquet(dataclasses.replace(polygons, coordinates=coordinates), path)
    assert "with overlaps or gaps" in failing(check_polygons(draft))["coverage"]
    largest = int(polygons.areas_m2.argmax())
    write_geoparquet(polygons.chosen(np.arange(len(polygons)) != largest), path)
    message = failing(check_polygons(draft))["coverage"]
    assert message.startswith(f"{len(polygons) - 1} polygons, 0 of them with overlaps or gaps")
    assert "area off by" in message
    write_geoparquet(polygons.chosen(np.zeros(len(polygons), bool)), path)
    assert "off by 100.000 %" in failing(check_polygons(draft))["coverage"]


def test_a_published_file_that_changed_is_found(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.workspace.store.root, tmp_path / "store")
    store = ProductStore(tmp_path / "store")
    thumbnail = store.path(deployment.product, Asset.THUMBNAIL)
    thumbnail.write_bytes(thumbnail.read_bytes() + b"x")
    assert "thumbnail.png" in failing(check_product(deployment.product, store))["checksums"]
    thumbnail.unlink()
    assert "thumbnail.png is missing" in failing(check_product(deployment.product, store))["checksums"]


def test_an_item_that_is_not_stac_is_found(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(deployment.workspace.store.root, tmp_path / "store")
    store = ProductStore(tmp_path / "store")
    item = store.path(deployment.product, Asset.ITEM)
    item.write_text(item.read_text().replace('"datetime"', '"date_time"'))
    assert "is not valid STAC" in failing(check_product(deployment.product, store))["stac_item"]


def verdict(tile: str, ours: float, provider: float | None) -> SceneVerdict:
    return SceneVerdict(
        key=SceneKey(DAY, 22, tile),
        product_id="",
        source="",
        masks="clouds",
        shadow_percent=0.0,
        snow_percent=0.0,
        cloud_percent=ours,
        valid_percent=100.0,
        clear_percent=100.0 - ours,
        provider_cloud_percent=provider,
        accepted=True,
        reason="",
    )


def test_a_cloud_cover_far_from_the_providers_is_a_warning() -> None:
    close = [verdict("32TQM", 10, 20), verdict("32TQN", 50, None)]
    assert check_clouds(close).passed
    assert check_clouds([]).passed
    far = check_clouds([*close, verdict("32TQP", 5, 80)])
    assert not far.passed
    assert far.warns
    assert "2026-05-01_R022_T32TQP (75)" in far.message


def test_findings_of_a_batch_become_one_result_that_names_the_failures() -> None:
    (result,) = check_results(
        {
            "a": [Finding("coverage", True, "fine", {"polygons": 5})],
            "b": [Finding("coverage", False, "two overlap", {"polygons": 7})],
        }
    )
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert result.description == "b: two overlap"
    table = (result.metadata or {})["partitions"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["passed"] for record in table.records] == [True, False]
    (warning,) = check_results({"a": [Finding("confidence", False, "unsure", warns=True)]})
    assert warning.severity is dg.AssetCheckSeverity.WARN


def test_a_blocking_check_stops_the_publication(
    deployment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(deployment.settings.home, home, ignore=shutil.ignore_patterns("simulated", "dagster", "store"))
    monkeypatch.setattr(raster, "_MOST_DIFFERENT_PERCENT", -1.0)
    with dg.DagsterInstance.ephemeral() as instance:
        chain = Chain(dataclasses.replace(deployment.settings, home=home), instance)
        instance.add_dynamic_partitions("scene", [str(CLEAR)])
        with pytest.raises(RunFailedError, match=r"check valid_fraction failed: .* % was observed"):
            chain.segment(CLEAR, MODEL)
        assert instance.get_materialized_partitions(dg.AssetKey("land_cover_polygons")) == set()
    assert not (home / "store").exists()
