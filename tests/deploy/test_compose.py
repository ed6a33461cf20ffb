"""`deploy/compose.yaml` and the container image, as far as they can be checked without a container engine."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("earthsignature")]


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([a-zA-Z0-9_.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
    return dict(found)


def test_the_linter_finds_nothing_in_the_containerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DEPLOY / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_no_root_and_nothing_that_its_lock_does_not_name() -> None:
    assert re.findall(r"^USER (.+)$", CONTAINERFILE, re.MULTILINE) == ["10001:10001"]
    installs = re.findall(r"pip install (.+)$", CONTAINERFILE, re.MULTILINE)
    assert ["--require-hashes" in install or "--no-deps --no-build-isolation" in install for install in installs] == [
        True,
        True,
    ]
    image, core = pins("deploy.txt"), pins("core.txt")
    assert core.items() <= image.items()
    assert {"hatchling", "dagster-celery", "dagster-k8s", "redis"} <= set(image)


def test_what_is_copied_is_there_and_let_through_by_dockerignore() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_every_command_exists(check_command: Callable[[list[str]], None]) -> None:
    assert OURS == ["code-location", "webserver", "daemon", "worker", "service"]
    for name in OURS:
        check_command(SERVICES[name]["command"])
    checked = {name: SERVICES[name]["healthcheck"]["test"][1:] for name in OURS if "healthcheck" in SERVICES[name]}
    assert list(checked) == ["code-location", "webserver", "daemon", "service"]
    for command in checked.values():
        if command[0] != "python":  # those are run in tests/services/test_container.py
            check_command(command)


def test_every_variable_of_ours_is_a_setting(known_variables: set[str]) -> None:
    named = set(re.findall(r"\bEARTHSIGNATURE_\w+", (DEPLOY / "compose.yaml").read_text() + CONTAINERFILE))
    assert {"EARTHSIGNATURE_STORE", "EARTHSIGNATURE_HOME"} <= named <= known_variables


def test_what_dagster_reads_from_the_environment_is_given() -> None:
    read = set(re.findall(r"env: (\w+)", (DEPLOY / "dagster-celery.yaml").read_text()))
    image = set(re.findall(r"(DAGSTER_\w+)=", CONTAINERFILE))
    assert read <= set(SERVICES["worker"]["environment"]) | image


def test_nothing_is_published_beyond_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000", "127.0.0.1:50051:50051"]
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_no_secret_stands_in_the_repository() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|MC_HOST", name):
                assert not re.sub(r"\$\{\w+:\?[^}]*\}|http://|@store:9000|:", "", value), name
    empty = dict(line.split("=") for line in (DEPLOY / "env.example").read_text().splitlines() if "=" in line[:25])
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert {name for name, value in empty.items() if not value and not name.startswith("#")} == asked
    ignored = subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_services_and_volumes_that_are_named_are_declared() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
    for other in ("db", "redis", "store", "triton"):
        assert other in SERVICES
