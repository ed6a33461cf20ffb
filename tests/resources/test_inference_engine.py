import socket
from pathlib import Path

import pytest

from earthsignature_assets.definitions import definitions
from earthsignature_assets.errors import EngineUnavailableError, InvalidKeyError
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.system.settings import Settings

MODEL = ModelVersion("corine-unet", 1)


def engine_of(settings: Settings) -> InferenceEngine:
    resource = (definitions(settings).resources or {})["engine"]
    assert isinstance(resource, InferenceEngine)
    return resource


def test_without_a_setting_the_engine_is_embedded(tmp_path: Path) -> None:
    with engine_of(Settings(home=tmp_path)).open(MODEL) as engine:
        assert isinstance(engine, EmbeddedEngine)


def test_one_setting_chooses_triton(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(home=tmp_path, triton=f"127.0.0.1:{port}")
    with pytest.raises(EngineUnavailableError, match=f"127.0.0.1:{port}"), engine_of(settings).open(MODEL):
        pass


def test_an_endpoint_that_does_not_parse_is_named() -> None:
    with pytest.raises(InvalidKeyError, match="http://triton"), InferenceEngine(triton="http://triton").open(MODEL):
        pass
