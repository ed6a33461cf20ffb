from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from click.testing import CliRunner, Result

from earthsignature_assets.cli.main import main


def export(deployment: Any, folder: Path, *arguments: str) -> Result:
    command = ["export", "--home", str(deployment.settings.home), "--to", str(folder), *arguments]
    return CliRunner().invoke(main, command, env={"COLUMNS": "200"})


def test_a_product_by_its_name(deployment: Any, tmp_path: Path) -> None:
    result = export(deployment, tmp_path / "maps", deployment.product.product_id)
    assert result.exit_code == 0, result.output
    path = tmp_path / "maps" / f"{deployment.product.product_id}_corine-unet-v1.gpkg"
    assert str(path) in result.output
    assert f"{len(gpd.read_file(path)):,} polygons" in result.output


@pytest.mark.parametrize(
    "choice",
    [
        ["--all"],
        ["--tile", "T32TQM"],
        ["--start", "2026-05-01", "--end", "2026-05-01"],
        ["--model", "corine-unet-v1", "--all"],
    ],
)
def test_products_by_choice(deployment: Any, tmp_path: Path, choice: list[str]) -> None:
    result = export(deployment, tmp_path, *choice, "--as", "flatgeobuf")
    assert result.exit_code == 0, result.output
    assert [path.suffix for path in tmp_path.iterdir()] == [".fgb"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ([], "none is chosen: name products, give --tile"),
        (["--tile", "33TUG"], "has none that matches"),
        (["--end", "2026-04-30"], "has none that matches"),
        (["--tile", "nowhere"], "nowhere"),
        (["S2A_MSIL2A_20260501T101559_N0512_R065_T33TUG_20260501T141516"], "with the name S2A_MSIL2A_20260501"),
        (["../../etc/passwd"], "passwd"),
        (["--all", "--model", "corine"], "corine"),
    ],
)
def test_choices_that_fail_name_the_reason(deployment: Any, tmp_path: Path, choice: list[str], message: str) -> None:
    result = export(deployment, tmp_path, *choice)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(deployment: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = export(deployment, tmp_path / "file" / "maps", "--all")
    assert result.exit_code == 1
    assert "cannot be made" in result.output


def test_help_shows_examples() -> None:
    result = CliRunner().invoke(main, ["export", "--help"])
    assert "earthsignature export --tile 32TQM --as flatgeobuf --to maps" in result.output
    assert "pmtiles" in result.output
