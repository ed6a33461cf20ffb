"""`earthsignature settings`, and the settings file as commands and Dagster's process see it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from earthsignature_assets.cli.main import main

PROBE = """
from earthsignature_assets.definitions import defs
print(defs.resources["cartography"].min_area_ha, defs.resources["discovery_window"].window_days)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "earthsignature.toml").write_text(
        'min_area_ha = 1.5\nwindow_days = 30\ncatalogue = "postgresql://ada:secret@db/earth"\n'
    )
    return tmp_path


def test_each_setting_is_listed_with_value_and_source(home: Path) -> None:
    command = ["settings", "--home", str(home), "--json"]
    done = CliRunner().invoke(main, command, env={"EARTHSIGNATURE_WINDOW_DAYS": "40"})
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    file = str(home / "earthsignature.toml")
    assert rows["home"] == {"value": str(home), "source": "option"}
    assert rows["window_days"] == {"value": 40, "source": "environment"}
    assert rows["min_area_ha"] == {"value": 1.5, "source": file}
    assert rows["threads"] == {"value": 2, "source": "default"}
    assert rows["catalogue"] == {"value": "postgresql://***@db/earth", "source": file}
    assert "secret" not in done.output


def test_the_table_shows_the_same(home: Path) -> None:
    done = CliRunner().invoke(main, ["settings", "--home", str(home)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    row = next(line for line in done.output.splitlines() if "min_area_ha" in line)
    assert row.split("│")[1:4] == [cell for cell in row.split("│")[1:4] if cell.strip()]
    assert "1.5" in row
    assert str(home / "earthsignature.toml") in row
    assert "secret" not in done.output


def test_a_wrong_file_stops_a_command_with_one_line(home: Path) -> None:
    (home / "earthsignature.toml").write_text("windows_days = 30\n")
    done = CliRunner().invoke(main, ["verify", "--home", str(home)])
    assert done.exit_code == 1
    assert "windows_days is not a setting, the nearest is window_days" in " ".join(done.output.split())


@pytest.mark.parametrize("by", ["home", "config"])
def test_the_process_of_dagster_reads_the_file(home: Path, tmp_path: Path, by: str) -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("EARTHSIGNATURE_")}
    named = {
        "home": {"EARTHSIGNATURE_HOME": str(home)},
        "config": {"EARTHSIGNATURE_CONFIG": str(home / "earthsignature.toml")},
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=known | named[by], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["1.5", "30"], done.stderr
