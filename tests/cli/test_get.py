import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from earthsignature_assets.cli.main import main
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.products.product import Asset


@pytest.fixture(scope="module")
def address(deployment: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("get") / "service.log"
    with service_process(deployment.workspace.store.root, log) as address:
        yield address


def get(address: str, folder: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["get", "--target", address, "--to", str(folder), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_rasters_are_the_published_files(address: str, deployment: Any, tmp_path: Path) -> None:
    result = get(address, tmp_path / "new")
    assert result.exit_code == 0
    written = [Path(line.split("  ")[0]) for line in result.stdout.splitlines()]
    name, store = deployment.product.product_id, deployment.workspace.store
    assets = (Asset.LAND_COVER, Asset.STYLE, Asset.CLOUD_MASK)
    assert written == [tmp_path / "new" / f"{name}_{asset.value}" for asset in assets]
    for path, asset in zip(written, assets, strict=True):
        assert path.read_bytes() == store.read(deployment.product, asset)
    assert sorted(path for path in (tmp_path / "new").iterdir()) == sorted(written)


def test_complete_files_stay_and_interrupted_downloads_resume(address: str, deployment: Any, tmp_path: Path) -> None:
    get(address, tmp_path)
    land_cover = tmp_path / f"{deployment.product.product_id}_land_cover.tif"
    cloud_mask = tmp_path / f"{deployment.product.product_id}_cloud_mask.tif"
    content, before = land_cover.read_bytes(), cloud_mask.stat().st_mtime_ns
    digest = deployment.product.folder.rpartition("/")[2]
    land_cover.unlink()
    (tmp_path / f".{land_cover.name}.{digest}.part").write_bytes(content[:1000])
    assert get(address, tmp_path).exit_code == 0
    assert land_cover.read_bytes() == content
    assert cloud_mask.stat().st_mtime_ns == before
    assert len(list(tmp_path.glob(".*"))) == 0


def test_polygons_are_the_published_ones(address: str, deployment: Any, tmp_path: Path) -> None:
    for form in ("geoparquet", "geojson"):
        assert get(address, tmp_path, "--as", form).exit_code == 0
    name = deployment.product.product_id
    assert (tmp_path / f"{name}.parquet").read_bytes() == deployment.workspace.store.read(
        deployment.product, Asset.POLYGONS
    )
    table, text = gpd.read_parquet(tmp_path / f"{name}.parquet"), gpd.read_file(tmp_path / f"{name}.geojson")
    assert table["code"].tolist() == text["code"].tolist()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".geojson", ".parquet"]


def test_a_picture_shows_the_classes_in_their_colours(address: str, deployment: Any, tmp_path: Path) -> None:
    assert get(address, tmp_path, "--as", "picture").exit_code == 0
    (path,) = tmp_path.iterdir()
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 320
    seen = {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    assert all(class_of(code).rgb in seen for code in deployment.product.class_codes)
    if target := os.environ.get("KEEP_PICTURES"):
        shutil.copy(path, target)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--max-cloud", "100"), 1),
        (("--max-cloud", "0"), 0),
        (("--start", "2026-05-01", "--end", "2026-05-01"), 1),
        (("--start", "2026-05-02"), 0),
        (("--model", "corine-unet-v1", "--limit", "1"), 1),
        (("--model", "corine-unet-v9"), 0),
        (("--product", "unknown"), 0),
    ],
)
def test_filters(address: str, tmp_path: Path, arguments: tuple[str, ...], found: int) -> None:
    result = get(address, tmp_path, "--as", "ids", *arguments)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, found)
    assert ("No product matches." in result.stderr) == (found == 0)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_filter_is_named(address: str, tmp_path: Path) -> None:
    result = get(address, tmp_path, "--category", "Woods")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "categories" in result.stderr


def test_a_folder_that_cannot_be_written_is_named(address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for form in ("geotiff", "picture"):
        result = get(address, tmp_path / "file" / "below", "--as", form)
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr


def test_a_damaged_product_does_not_stop_the_others(deployment: Any, tmp_path: Path) -> None:
    store = shutil.copytree(deployment.workspace.store.root, tmp_path / "store")
    (store / deployment.product.folder / Asset.CLOUD_MASK).unlink()
    with service_process(store, tmp_path / "service.log") as address:
        result = get(address, tmp_path / "new")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "1 of 1 products failed" in result.stderr
    assert "DATA_LOSS" in result.stderr
