"""The rules of the rooms: sizes, names, import contracts, and tests that stay in their room."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("earthsignature_assets", "earthsignature_grpc", "recipes")
MOST_MODULES, MOST_LINES = 14, 500
DECISIONS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "decisions").glob("*.md")))
(ROOMS_BY_SUBJECT,) = (ROOT / "docs" / "decisions").glob("0034-*.md")


def modules() -> Iterator[Path]:
    """Every module that people write, relative to the checkout."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "messages" not in path.parts and path.name not in ("__init__.py", "__main__.py"):
                yield path.relative_to(ROOT)


def decided(path: Path) -> bool:
    """Whether a decision names a room or a module by its path."""
    return f"`{path}`" in DECISIONS


def test_a_room_holds_at_most_fourteen_modules() -> None:
    rooms: dict[Path, int] = defaultdict(int)
    for module in modules():
        rooms[module.parent] += 1
    assert len(rooms) > 30
    large = {str(room): count for room, count in rooms.items() if count > MOST_MODULES and not decided(room)}
    assert not large, "split these rooms, or say in docs/decisions why not"


def test_a_module_has_at_most_five_hundred_lines() -> None:
    lines = {module: len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in modules()}
    long = {str(module): count for module, count in lines.items() if count > MOST_LINES and not decided(module)}
    assert not long, "split these modules, or say in docs/decisions why not"


def test_a_name_stands_for_one_module() -> None:
    places = defaultdict(list)
    for module in modules():
        places[module.stem].append(str(module.parent))
    listed = set(re.findall(r"`(\w+)`", ROOMS_BY_SUBJECT.read_text(encoding="utf-8")))
    shared = {name: rooms for name, rooms in places.items() if len(rooms) > 1 and name not in listed}
    assert not shared, f"rename these modules, or say in {ROOMS_BY_SUBJECT.name} why not"


def test_every_room_has_its_place_in_an_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    placed = {
        f"{container}.{name}".strip(".")
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract.get("containers", [""])
        for layer in contract["layers"]
        for name in re.split(r" [|:] ", layer)
    }
    roots = {".".join(module.with_suffix("").parts[:2]) for module in modules() if module.parts[0] != "recipes"}
    roots |= {f"{package}.{path.stem}" for package in PACKAGES[:2] for path in (ROOT / package).glob("__main__.py")}
    assert roots <= placed, "give these a layer in pyproject.toml"


def test_tests_import_from_no_other_room() -> None:
    foreign = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        room = path.relative_to(ROOT / "tests").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
                other = node.module.split(".")[1]
                if other != room and not (ROOT / "tests" / f"{other}.py").is_file():
                    foreign.append(f"{path.relative_to(ROOT)} imports {node.module}")
    assert not foreign, "move what several rooms share to a module in tests/"
