"""The files around the code: workflows, hooks, templates, citation."""

import json
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from earthsignature_assets import __version__

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
YAML_FILES = [name for name in TRACKED if name.endswith((".yaml", ".yml", ".cff"))]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


@pytest.mark.parametrize("name", YAML_FILES)
def test_a_yaml_file_parses(name: str) -> None:
    assert all(document for document in yaml.safe_load_all((ROOT / name).read_text()))


def test_the_citation_names_this_version_and_its_day() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    released = re.findall(r"^## ([\d.]+) – (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert (__version__, str(citation["date-released"])) == released[0]
    assert [day for _, day in released] == sorted((day for _, day in released), reverse=True)
    assert isinstance(citation["date-released"], date)


def test_the_workflow_runs_what_make_has_on_every_supported_python() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    commands = [step["run"].split() for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    assert {command[1] for command in commands} == {"check", "test", "test-services", "wheel"} <= targets
    classifiers = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"] == classifiers


def test_the_hooks_run_tools_of_the_environment() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"].split()[0] for hook in hooks] == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]


def test_the_development_container_makes_what_make_makes() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make .venv/.ready"
