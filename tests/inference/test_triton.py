"""The Triton engine without a server; tests/services/test_triton.py has real ones."""

import socket
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from earthsignature_assets.errors import EngineUnavailableError, InvalidKeyError, ModelError
from earthsignature_assets.inference import triton, triton_server
from earthsignature_assets.inference.triton import TritonEngine, parse_endpoints
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import shipped_repository

MODEL = ModelVersion("corine-unet", 1)


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        ("", ()),
        (" , ", ()),
        ("triton-1:8001", ("triton-1:8001",)),
        ("10.0.0.1:8001, gpu.example.org:18001,", ("10.0.0.1:8001", "gpu.example.org:18001")),
        ("[::1]:8001", ("[::1]:8001",)),
    ],
)
def test_endpoints_are_hosts_with_ports(text: str, endpoints: tuple[str, ...]) -> None:
    assert parse_endpoints(text) == endpoints


@pytest.mark.parametrize("text", ["triton", "http://triton:8001", "triton:0", "triton:65536", "triton:x", "::1:8001"])
def test_what_is_no_endpoint_is_named(text: str) -> None:
    with pytest.raises(InvalidKeyError, match=rf"'{text}' is no Triton endpoint: write host:port"):
        parse_endpoints(f"127.0.0.1:8001,{text}")


def test_endpoints_that_nobody_listens_on_are_all_named_quickly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [probe.getsockname()[1] for probe in (one, other)]
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError, match=rf"corine-unet-v1.*:{ports[0]}.*:{ports[1]}.*EARTHSIGNATURE"):
        TritonEngine(shipped_repository(), MODEL, [f"127.0.0.1:{port}" for port in ports])
    assert time.monotonic() - started < 30


def test_an_absent_version_is_refused_before_any_server_is_asked() -> None:
    with pytest.raises(ModelError, match="corine-unet-v99 is not in the model repository"):
        TritonEngine(shipped_repository(), ModelVersion("corine-unet", 99), ["127.0.0.1:1"])


def test_no_endpoint_is_refused() -> None:
    with pytest.raises(ModelError, match="EARTHSIGNATURE_TRITON"):
        TritonEngine(shipped_repository(), MODEL, [])


class Server:
    """A stand-in for the client of one server, which fails as told and notes every call."""

    message = "as told"

    def __init__(self, endpoint: str, calls: list[str], status: str | None = None, **datatypes: str) -> None:
        self.endpoint, self.calls, self.status, self.open = endpoint, calls, status, True
        self.datatypes = {"reflectance": "UINT16", "class_index": "UINT8", "confidence": "UINT8"} | datatypes

    def is_model_ready(self, name: str, version: str, client_timeout: float) -> bool:
        assert client_timeout > 0
        return True

    def get_model_metadata(self, name: str, version: str, client_timeout: float) -> SimpleNamespace:
        assert client_timeout > 0
        return SimpleNamespace(
            inputs=[
                SimpleNamespace(name="reflectance", datatype=self.datatypes["reflectance"], shape=[-1, 10, -1, -1])
            ],
            outputs=[
                SimpleNamespace(name=name, datatype=self.datatypes[name]) for name in ("class_index", "confidence")
            ],
        )

    def infer(self, name: str, inputs: list, model_version: str, outputs: list, client_timeout: float) -> object:
        assert (model_version, client_timeout) == ("1", 7.0)
        self.calls.append(self.endpoint)
        if self.status:
            raise InferenceServerException(self.message, status=f"StatusCode.{self.status}")
        n, _, height, width = inputs[0].shape()
        return SimpleNamespace(
            as_numpy=lambda name: np.full((n, height, width), 20 if name == "confidence" else 1, np.uint8)
        )

    def close(self) -> None:
        self.open = False


@pytest.mark.parametrize(
    ("status", "elsewhere"),
    [
        ("UNAVAILABLE", True),
        ("DEADLINE_EXCEEDED", True),
        ("INTERNAL", True),
        ("INVALID_ARGUMENT", False),
        ("NOT_FOUND", False),
        ("UNIMPLEMENTED", False),
    ],
)
def test_only_what_can_pass_is_tried_elsewhere(monkeypatch: pytest.MonkeyPatch, status: str, elsewhere: bool) -> None:
    calls: list[str] = []
    statuses = {"first:1": status, "second:1": None}
    monkeypatch.setattr(
        triton_server.triton, "InferenceServerClient", lambda endpoint: Server(endpoint, calls, statuses[endpoint])
    )
    if not elsewhere:
        with pytest.raises(ModelError, match=rf"corine-unet-v1 on Triton at first:1: StatusCode.{status}: as told"):
            TritonEngine(shipped_repository(), MODEL, ["first:1", "second:1"], deadline_s=7.0)
        assert calls == ["first:1"]
        return
    engine = TritonEngine(shipped_repository(), MODEL, ["first:1", "second:1"], deadline_s=7.0)
    assert calls == ["first:1", "second:1", "second:1"]
    engine.segment(np.ones((1, 10, 16, 16), np.uint16))
    assert calls[3:] == ["second:1"]


def test_all_endpoints_are_asked_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        triton_server.triton, "InferenceServerClient", lambda endpoint: Server(endpoint, calls, "UNAVAILABLE")
    )
    with pytest.raises(EngineUnavailableError, match=r"first:1.*second:1"):
        TritonEngine(shipped_repository(), MODEL, ["first:1", "second:1"], deadline_s=7.0)
    assert calls == ["first:1", "second:1"] * 3


@pytest.mark.parametrize("tensor", ["reflectance", "class_index", "confidence"])
def test_a_server_whose_tensors_are_others_is_refused_and_left(monkeypatch: pytest.MonkeyPatch, tensor: str) -> None:
    server = Server("first:1", [], **{tensor: "INT64"})
    monkeypatch.setattr(triton_server.triton, "InferenceServerClient", lambda _: server)
    with pytest.raises(ModelError, match=rf"{tensor}': 'INT64'.* expected .*generated with the model"):
        TritonEngine(shipped_repository(), MODEL, ["first:1"], deadline_s=7.0)
    assert server.calls == []
    assert not server.open


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size"),
        ("UNAVAILABLE", "Request timeout expired"),
        ("RESOURCE_EXHAUSTED", "no memory for now"),
    ],
)
def test_a_busy_server_is_asked_again_over_the_same_connection(
    monkeypatch: pytest.MonkeyPatch, status: str, message: str
) -> None:
    opened, calls, pauses = [], [], []
    monkeypatch.setattr(triton.time, "sleep", pauses.append)

    def connect(endpoint: str) -> Server:
        opened.append(Server(endpoint, calls))
        return opened[-1]

    monkeypatch.setattr(triton_server.triton, "InferenceServerClient", connect)
    engine = TritonEngine(shipped_repository(), MODEL, ["first:1"], deadline_s=7.0)
    server, refusals = opened[0], [2]
    answer = server.infer

    def infer(*arguments: object, **options: object) -> object:
        if refusals[0]:
            refusals[0] -= 1
            raise InferenceServerException(message, status=f"StatusCode.{status}")
        return answer(*arguments, **options)

    monkeypatch.setattr(server, "infer", infer)
    engine.segment(np.ones((1, 10, 16, 16), np.uint16))
    assert len(opened) == 1
    assert len(pauses) == 2
    assert 0 < pauses[0] <= 0.75 < pauses[0] + pauses[1]


def test_a_message_that_is_too_large_cannot_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("first:1", [], "RESOURCE_EXHAUSTED")
    server.message = "SERVER: Received message larger than max (4194305 vs. 4194304)"
    monkeypatch.setattr(triton_server.triton, "InferenceServerClient", lambda _: server)
    with pytest.raises(ModelError, match="larger than max"):
        TritonEngine(shipped_repository(), MODEL, ["first:1"], deadline_s=7.0)


def test_a_host_that_does_not_resolve_is_named_quickly() -> None:
    started = time.monotonic()
    with pytest.raises(EngineUnavailableError, match=r"the host triton.invalid does not resolve: correct EARTHSIG"):
        TritonEngine(shipped_repository(), MODEL, ["triton.invalid:8001"])
    assert time.monotonic() - started < 40
