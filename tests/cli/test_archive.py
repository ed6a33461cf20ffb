"""The commands that care for the archive, as people type them."""

import shutil
from pathlib import Path
from typing import Any

import pystac
import pytest
from click.testing import CliRunner, Result

from earthsignature_assets.cli.main import main
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store.product_store import ProductStore


@pytest.fixture
def home(deployment: Any, tmp_path: Path) -> Path:
    """A copy of a home with one published product."""
    shutil.copytree(deployment.settings.home / "store", tmp_path / "home" / "store")
    return tmp_path / "home"


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


def test_a_sound_store_is_verified(home: Path) -> None:
    done = run("verify", "--home", home)
    assert done.exit_code == 0, done.output
    assert "1 products" in done.output


def test_damage_is_named_and_the_exit_status_is_1(home: Path, deployment: Any) -> None:
    path = ProductStore(home / "store").path(deployment.product, Asset.GEOBUF)
    path.write_bytes(path.read_bytes()[:-1])
    done = run("verify", "--home", home)
    assert done.exit_code == 1
    assert f"{path} has " in done.output
    assert "1 of 1 products are damaged" in done.output


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    done = run("verify", "--home", tmp_path)
    assert done.exit_code == 1
    assert "does not exist" in done.output


def test_a_lost_catalogue_is_rebuilt(home: Path) -> None:
    for path in (home / "store").glob("catalogue.sqlite*"):
        path.unlink()
    done = run("catalogue", "rebuild", "--home", home)
    assert done.exit_code == 0, done.output
    assert "1 products in the store: 1 recorded" in done.output
    assert "corine-unet-v1 is promoted" in done.output
    assert run("verify", "--home", home).exit_code == 0


def test_a_damaged_item_is_named_by_the_rebuild(home: Path, deployment: Any) -> None:
    ProductStore(home / "store").path(deployment.product, Asset.ITEM).write_text("{")
    done = run("catalogue", "rebuild", "--home", home)
    assert done.exit_code == 1
    assert deployment.product.folder in done.output


def test_the_archive_is_exported(home: Path, tmp_path: Path) -> None:
    done = run("catalogue", "export", tmp_path / "stac", "--home", home)
    assert done.exit_code == 0, done.output
    assert len(list(pystac.Catalog.from_file(str(tmp_path / "stac/catalog.json")).get_items(recursive=True))) == 1


def test_a_sweep_lists_the_removed_folders(home: Path, deployment: Any) -> None:
    product = ProductStore(home / "store").root / deployment.product.folder
    shutil.copytree(product, product.with_name("000000000000"))
    done = run("sweep", "--older-than", "0", "--home", home)
    assert done.exit_code == 0, done.output
    assert "000000000000" in done.output
    assert "1 folders removed" in done.output
    assert product.is_dir()


def test_a_store_elsewhere_comes_from_the_environment(home: Path, tmp_path: Path) -> None:
    done = run("verify", "--home", tmp_path / "other", EARTHSIGNATURE_STORE=str(home / "store"))
    assert done.exit_code == 0, done.output


def test_a_store_on_s3_without_a_catalogue_is_refused(tmp_path: Path) -> None:
    done = run("verify", "--home", tmp_path, EARTHSIGNATURE_STORE="s3://bucket/archive")
    assert done.exit_code == 1
    assert "EARTHSIGNATURE_CATALOGUE" in done.output
