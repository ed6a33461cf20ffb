"""The backup of docs/how-to/back-up.md, taken and restored: both databases by pg_dump, and what was published since."""

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from earthsignature_assets.automation.sensors import accepted_scenes
from earthsignature_assets.cli.chain import Chain, dagster_home, open_instance
from earthsignature_assets.cli.main import main
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.catalogue.catalogue import Promotion
from earthsignature_assets.products.product import Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.resources.discovery_window import DiscoveryWindow
from earthsignature_assets.simulator import SceneRecipe, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("restored_dagster", "restored_catalogue")
DAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=2)
BEFORE, SINCE = SceneKey(DAY, 22, "32TQM"), SceneKey(DAY, 22, "33TUG")
MODEL = ModelVersion("corine-unet", 1)


@pytest.fixture
def server(postgres_url: str) -> Iterator[str]:
    """A PostgreSQL with the two databases of a deployment; its URL without a database."""
    url = postgres_url.replace("+psycopg2", "").removesuffix("/postgres")
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(f"{url}/{DATABASES[1]}", autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
        connection.execute("CREATE EXTENSION btree_gist")
    yield url
    drop(url)


def drop(url: str) -> None:
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def postgres(program: str, *arguments: str) -> None:
    newest = max(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4]))
    done = subprocess.run([newest, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def told(settings: Settings, *command: str) -> str:
    result = CliRunner().invoke(main, command, env=settings.to_environment())
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def asked_for(instance: dg.DagsterInstance) -> list[str]:
    context = dg.build_sensor_context(instance=instance, resources={"discovery_window": DiscoveryWindow()})
    return [str(one.partition_key) for one in accepted_scenes(context) if isinstance(one, dg.RunRequest)]  # type: ignore[union-attr]


def test_both_databases_come_back_and_what_was_published_since_is_found_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster, catalogue = (f"{server}/{name}" for name in DATABASES)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster.replace("postgresql:", "postgresql+psycopg2:"))
    shutil.copy(ROOT / "deploy" / "dagster-postgres.yaml", dagster_home(tmp_path) / "dagster.yaml")
    with serve_files(tmp_path / "simulated") as base_url:
        scenes = [
            simulate_scene(SceneRecipe(key, size=128, cloud_cover=0.0), tmp_path / "simulated", base_url)
            for key in (BEFORE, SINCE)
        ]
        with serve_stac([scene.item_path for scene in scenes]) as api:
            settings = Settings(home=tmp_path, stac_api=api, area="32TQM,33TUG", catalogue=catalogue)
            with open_instance(tmp_path) as instance:
                chain = Chain(settings, instance)
                chain.discover(DAY)
                for key in (BEFORE, SINCE):
                    chain.fetch(key)
                chain.segment(BEFORE, MODEL)
            told(settings, "models", "promote", str(MODEL), "--who", "Ada", "--why", "better forests")
            for url in (dagster, catalogue):
                postgres("pg_dump", "--format=custom", f"--file={tmp_path / Path(url).name}", url)
            with open_instance(tmp_path) as instance:
                Chain(settings, instance).segment(SINCE, MODEL)
            known = state(settings)

            drop(server)
            for url in (dagster, catalogue):
                postgres("pg_restore", "--create", f"--dbname={server}/postgres", str(tmp_path / Path(url).name))

            products, promotions = state(settings)
            assert [product.scene for product in products] == [BEFORE]
            assert promotions == known[1]
            assert "1 products are missing" in told(settings, "missing")
            assert "2 products in the store: 1 recorded, 0 rows without files removed" in told(
                settings, "catalogue", "rebuild"
            )
            assert ": 1 reported to Dagster" in told(settings, "catalogue", "tell-dagster")
            assert state(settings) == known
            assert "2 products: every file is as published" in told(settings, "verify")
            with open_instance(tmp_path) as instance:
                assert asked_for(instance) == []
                assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 4
                # Both go on: new runs and new decisions get numbers that were not given before.
                again = Chain(settings, instance).segment(SINCE, MODEL)
                assert len(instance.get_runs()) == 5
            told(settings, "models", "promote", str(MODEL), "--who", "Bob", "--why", "once more")
    assert again in known[0]
    assert [(one.who, one.why) for one in state(settings)[1]][:2] == [("Bob", "once more"), ("Ada", "better forests")]


def state(settings: Settings) -> tuple[list[Product], list[Promotion]]:
    """What the catalogue says: the products in the order of their scenes, and who promoted what when."""
    with ProductStore(settings.home / "store", settings.catalogue).open_catalogue(read_only=True) as catalogue:
        return sorted(catalogue.all_products(), key=lambda product: str(product.scene)), list(catalogue.promotions())
