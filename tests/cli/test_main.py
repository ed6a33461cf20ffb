import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import rasterio
from click.testing import CliRunner

from earthsignature_assets.cli.main import main
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.simulator import serve_stac


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["demo", "run", "serve", "ui", "get", "models"])
def test_every_command_has_help(command: str) -> None:
    code, output = invoke(command, "--help")
    assert code == 0
    assert len(output.splitlines()) > 5
    assert command in invoke("--help")[1]


def test_models_lists_the_classes_of_each_version() -> None:
    code, output = invoke("models")
    assert code == 0
    assert "corine-unet-v1" in output
    assert "512 Water bodies" in " ".join(output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tile", "99XYZ", "--date", "2026-05-01"), "99XYZ"),
        (("--tile", "32TQM", "--date", "first of May"), "first of May"),
        (("--tile", "32TQM", "--date", "2026-05-01", "--provider", "moon"), "moon"),
        (("--tile", "32TQM", "--date", "2026-05-01", "--model", "corine|unet"), "corine|unet"),
        (("--tile", "32TQM", "--date", "2026-05-01", "--model", "corine-unet-v9"), "corine-unet-v9"),
    ],
)
def test_run_refuses_invalid_options(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, output = invoke("run", "--home", str(tmp_path), "--stac-api", "http://127.0.0.1:9", *arguments)
    assert code != 0
    assert message in output
    assert list(tmp_path.iterdir()) == []


def test_run_names_a_date_without_items(deployment: Any, tmp_path: Path) -> None:
    code, output = invoke(
        "run", "--home", str(tmp_path), "--stac-api", deployment.settings.stac_api, "--tile", "31TGJ",
        "--date", "2026-05-01",
    )  # fmt: skip
    assert code == 1
    assert "has no item of tile 31TGJ on 2026-05-01" in output


def test_run_names_the_reason_why_a_scene_is_not_segmented(deployment: Any, tmp_path: Path) -> None:
    code, output = invoke(
        "run", "--home", str(tmp_path), "--stac-api", deployment.settings.stac_api, "--tile", "33TUG",
        "--date", "2026-05-01",
    )  # fmt: skip
    assert code == 1
    assert "nothing to segment of 33TUG" in output
    assert "cloud covers" in output


def test_run_names_the_band_that_an_item_lacks(deployment: Any, tmp_path: Path) -> None:
    item = json.loads(next(iter(deployment.scenes.values())).item_path.read_text())
    del item["assets"]["swir22"]
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    with serve_stac([path]) as api:
        code, output = invoke(
            "run", "--home", str(tmp_path / "home"), "--stac-api", api, "--tile", "32TQM", "--date", "2026-05-01"
        )
    assert code == 1
    assert f"item {item['id']} has no band B12: asset 'swir22' is missing" in output


def test_run_publishes_a_tile_and_get_fetches_it(deployment: Any, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "fetched"
    code, output = invoke(
        "run", "--home", str(home), "--stac-api", deployment.settings.stac_api, "--tile", "32TQM",
        "--date", "2026-05-01",
    )  # fmt: skip
    assert code == 0, output
    assert "Published" in output
    with service_process(home / "store", home / "service.log") as address:
        code, output = invoke("get", "--target", address, "--as", "ids")
        assert code == 0
        product_id = output.split()[0]
        assert product_id == deployment.product.product_id
        nothing = invoke("get", "--target", address, "--to", str(folder), "--category", "Rice fields")
        assert nothing == (0, "No product matches.\n")
        assert invoke("get", "--target", address, "--to", str(folder), "--product", product_id)[0] == 0
        for form in ("geoparquet", "geojson"):
            assert invoke("get", "--target", address, "--to", str(folder), "--as", form)[0] == 0
        code, output = invoke("get", "--target", address, "--area", "POLYGON ((")
        assert code == 1
        assert "wkt" in output
    with rasterio.open(folder / f"{product_id}_land_cover.tif") as dataset:
        assert (dataset.width, dataset.nodata, dataset.dtypes) == (320, 0, ("uint16",))
    with rasterio.open(folder / f"{product_id}_cloud_mask.tif") as dataset:
        assert dataset.width == 160
    from_parquet = gpd.read_parquet(folder / f"{product_id}.parquet")
    from_geojson = gpd.read_file(folder / f"{product_id}.geojson")
    assert len(from_parquet) == len(from_geojson) > 5
    assert {"code", "name"} <= set(from_parquet.columns)


def test_get_names_a_service_that_does_not_answer(tmp_path: Path) -> None:
    code, output = invoke("get", "--target", "127.0.0.1:9", "--to", str(tmp_path))
    assert code == 1
    assert "127.0.0.1:9" in output
