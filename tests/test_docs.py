"""Every example in the guides runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.system.settings import SETTINGS
from tests.conftest import Deployment

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / "SECURITY.md", *PAGES]
BLOCKS = [
    pytest.param(kind, code, id=f"{guide.relative_to(ROOT)}-{number}-{kind}")
    for guide in GUIDES
    for number, (kind, code) in enumerate(re.findall(r"^```(sh|python)\n(.*?)^```", guide.read_text(), re.M | re.S))
]


@pytest.fixture(scope="module")
def home(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the deployment's home: an example promotes a model, which other tests must not see."""
    home = tmp_path_factory.mktemp("docs") / "home"
    return Path(shutil.copytree(deployment.settings.home, home))


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with service_process(home / "store", home.parent / "service.log") as address:
        yield address


@pytest.mark.parametrize(("kind", "code"), BLOCKS)
def test_an_example_runs(kind: str, code: str, address: str, home: Path, tmp_path: Path) -> None:
    code = code.replace("localhost:50051", address).replace("build/demo", str(home))
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euo", "pipefail", "-c", code]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "promote" in code


def test_there_are_examples() -> None:
    assert len(BLOCKS) > 8


def test_links_between_the_pages_lead_somewhere() -> None:
    for guide in GUIDES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", guide.read_text()):
            assert (guide.parent / target).exists(), f"{guide.name} links to {target}"


def test_the_site_leads_to_every_page() -> None:
    listed = (ROOT / "mkdocs.yml").read_text() + (ROOT / "docs" / "decisions" / "index.md").read_text()
    pages = {page.name if page.parent.name == "decisions" else str(page.relative_to(ROOT / "docs")) for page in PAGES}
    assert sorted(page for page in pages - {"index.md"} if page not in listed) == []


def test_no_page_needs_a_script_of_another_host() -> None:
    assert [page.name for page in PAGES if re.search(r"^```mermaid|<script|<link", page.read_text(), re.M)] == []


def test_every_decision_that_is_named_exists() -> None:
    numbers = {page.name[:4] for page in (ROOT / "docs" / "decisions").glob("0*.md")}
    known = {page.name for page in (ROOT / "docs" / "decisions").glob("0*.md")}
    named: dict[str, list[str]] = {}
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in tracked.split("\0"):
        if path.endswith((".md", ".py", ".proto", ".toml", ".yaml", ".yml")) and "/messages/" not in path:
            for number, rest in re.findall(r"decisions?[/ \[]+(0\d{3})(-[\w-]+\.md)?", (ROOT / path).read_text()):
                if number not in numbers or (rest and number + rest not in known):
                    named.setdefault(path, []).append(number + rest)
    assert named == {}


def test_the_modules_that_the_pages_name_exist() -> None:
    folders = [ROOT / folder for folder in (".", "earthsignature_assets", "earthsignature_grpc")]
    named = {(page.name, path) for page in GUIDES for path in re.findall(r"`([\w/]+\.py)\b", page.read_text())}
    assert len(named) > 40
    assert sorted(pair for pair in named if not any((folder / pair[1]).exists() for folder in folders)) == []


def test_the_commands_of_modules_that_the_pages_name_exist() -> None:
    named = {module for page in GUIDES for module in re.findall(r"python -m ([\w.]+)", page.read_text())}
    assert len(named) >= 4
    places = {module: ROOT / module.replace(".", "/") for module in named}
    assert sorted(m for m, path in places.items() if not (path.with_suffix(".py").exists() or path.is_dir())) == []


def test_the_tests_that_the_pages_name_exist() -> None:
    named = {match for guide in GUIDES for match in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", guide.read_text())}
    assert len(named) > 30
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.M), f"{file}::{test} is not there"


def test_every_line_of_the_contract_names_its_tests() -> None:
    lines = re.findall(r"^\| (?!Guarantee|Refused|\|).*", (ROOT / "docs" / "api" / "contract.md").read_text(), re.M)
    assert [line.split(" | ")[0] for line in lines if line[2].isdigit()] == [f"| {number}" for number in range(1, 14)]
    assert [line for line in lines if "::test_" not in line] == []


def test_every_place_that_a_page_names_exists() -> None:
    answers = re.findall(r"`([\w/]+\.py)::(\w+)` \|", (ROOT / "docs" / "explanation" / "where-is.md").read_text())
    assert len(answers) >= 30
    for file, name in answers:
        source = (ROOT / file).read_text()
        assert re.search(rf"^(?:async def|def|class) {name}\b|^{name}\b", source, re.M), f"{file}::{name} is not there"


def test_the_page_of_settings_lists_each_one_as_it_is_declared() -> None:
    rows = re.findall(r"^\| `.*", (ROOT / "docs" / "how-to" / "settings.md").read_text(), re.M)
    assert rows == [
        f"| `{one.name}` | `{one.variable}` | {one.default_text} | {one.help} |" for one in SETTINGS.values()
    ]
