"""The PostgreSQL variant of Dagster's configuration against a real PostgreSQL."""

import datetime as dt
import shutil
from pathlib import Path

import dagster as dg
import pytest

from earthsignature_assets.cli.chain import Chain
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 5, 1)
SCENE = SceneKey(DAY, 22, "32TQM")
MODEL = ModelVersion("corine-unet", 1)


def test_a_scene_goes_through_and_its_history_survives_a_restart(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url)
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copy(ROOT / "deploy" / "dagster-postgres.yaml", dagster_home / "dagster.yaml")
    with serve_files(tmp_path / "simulated") as base_url:
        scene = simulate_scene(SceneRecipe(SCENE, size=128), tmp_path / "simulated", base_url)
        with serve_stac([scene.item_path]) as api, dg.DagsterInstance.from_config(str(dagster_home)) as instance:
            chain = Chain(Settings(home=tmp_path, stac_api=api, area="32TQM"), instance)
            chain.discover(DAY)
            chain.fetch(SCENE)
            assert chain.segment(SCENE, MODEL).current
    with dg.DagsterInstance.from_config(str(dagster_home)) as again:
        assert again.get_dynamic_partitions("scene") == [str(SCENE)]
        assert [run.status for run in again.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 3
        published = again.get_materialized_partitions(dg.AssetKey("land_cover_product"))
        assert published == {f"{MODEL}|{SCENE}"}
