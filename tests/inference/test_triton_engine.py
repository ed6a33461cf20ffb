"""The Triton engine without a real server; tests/services/test_triton.py uses real ones."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any
from unittest import mock

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earthsignature_assets.errors import EngineUnavailableError, InvalidKeyError, ModelError
from earthsignature_assets.inference import triton_engine as triton
from earthsignature_assets.inference.triton_engine import TritonEngine, parse_endpoints
from earthsignature_assets.inference.triton_server import TritonServer
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
def test_an_invalid_endpoint_is_named(text: str) -> None:
    with pytest.raises(InvalidKeyError, match=rf"'{text}' is not a Triton endpoint: give host:port"):
        parse_endpoints(f"127.0.0.1:8001,{text}")


def test_endpoints_without_a_listener_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(triton, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [probe.getsockname()[1] for probe in (one, other)]
    with pytest.raises(EngineUnavailableError, match=rf"corine-unet-v1.*:{ports[0]}.*:{ports[1]}.*EARTHSIGNATURE"):
        TritonEngine(shipped_repository(), MODEL, [f"127.0.0.1:{port}" for port in ports])
    assert pauses == 3 * [triton._PAUSE_S]


def test_an_absent_version_is_refused_before_any_call() -> None:
    with pytest.raises(ModelError, match="corine-unet-v99 is not in the model repository"):
        TritonEngine(shipped_repository(), ModelVersion("corine-unet", 99), ["127.0.0.1:1"])


def test_an_empty_list_of_endpoints_is_refused() -> None:
    with pytest.raises(ModelError, match="EARTHSIGNATURE_TRITON"):
        TritonEngine(shipped_repository(), MODEL, [])


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped
    """A server with Triton's protocol that fails on request and records inference calls."""

    def __init__(self, *refusals: tuple[grpc.StatusCode, str], always: bool = False, **datatypes: str) -> None:
        self.refusals, self.always = list(refusals), always
        self.peers: list[str] = []
        self.requests: list[Any] = []
        self.datatypes = {"reflectance": "UINT16", "class_index": "UINT8", "confidence": "UINT8"} | datatypes

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        assert context.time_remaining() < 60
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        assert context.time_remaining() < 60
        answer = service_pb2.ModelMetadataResponse(name=request.name)
        answer.inputs.add(name="reflectance", datatype=self.datatypes["reflectance"], shape=[-1, 10, -1, -1])
        for name in ("class_index", "confidence"):
            answer.outputs.add(name=name, datatype=self.datatypes[name], shape=[-1, -1, -1])
        return answer

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        assert context.time_remaining() < 8
        self.peers.append(context.peer())
        self.requests.append(request)
        if self.refusals:
            context.abort(*(self.refusals[0] if self.always else self.refusals.pop(0)))
        [asked] = request.inputs
        count, _, height, width = asked.shape
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
        for output, value in zip(request.outputs, (1, 20), strict=True):
            plane = np.full((count, height, width), value, np.uint8)
            answer.outputs.add(name=output.name, datatype="UINT8", shape=plane.shape)
            answer.raw_output_contents.append(plane.tobytes())
        return answer


Start = Callable[[Server], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers on free ports of loopback; each start returns the endpoint."""
    with ExitStack() as running:

        def start(servicer: Server) -> str:
            server = grpc.server(ThreadPoolExecutor(4))
            service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            running.callback(lambda: server.stop(None).wait())
            return f"127.0.0.1:{port}"

        yield start


def engine_on(*endpoints: str) -> TritonEngine:
    return TritonEngine(shipped_repository(), MODEL, endpoints, deadline_s=7.0)


@pytest.mark.parametrize(
    ("status", "elsewhere"),
    [
        (StatusCode.UNAVAILABLE, True),
        (StatusCode.DEADLINE_EXCEEDED, True),
        (StatusCode.INTERNAL, True),
        (StatusCode.INVALID_ARGUMENT, False),
        (StatusCode.NOT_FOUND, False),
        (StatusCode.UNIMPLEMENTED, False),
    ],
)
def test_only_transient_errors_are_retried_on_another_server(start: Start, status: StatusCode, elsewhere: bool) -> None:
    first, second = Server((status, "as told"), always=True), Server()
    endpoints = start(first), start(second)
    if not elsewhere:
        with pytest.raises(ModelError, match=rf"corine-unet-v1 on Triton at {endpoints[0]}: {status}: as told"):
            engine_on(*endpoints)
        assert (len(first.peers), len(second.peers)) == (1, 0)
        return
    with closing(engine_on(*endpoints)) as engine:
        assert (len(first.peers), len(second.peers)) == (1, 2)
        engine.segment(np.ones((1, 10, 16, 16), np.uint16))
    assert (len(first.peers), len(second.peers)) == (1, 3)


def test_all_endpoints_are_tried_three_times(start: Start) -> None:
    servers = [Server((StatusCode.UNAVAILABLE, "as told"), always=True) for _ in range(2)]
    first, second = (start(server) for server in servers)
    with pytest.raises(EngineUnavailableError, match=rf"{first}.*{second}"):
        engine_on(first, second)
    assert [len(server.peers) for server in servers] == [3, 3]


@pytest.mark.parametrize("tensor", ["reflectance", "class_index", "confidence"])
def test_a_server_with_other_tensors_is_refused_and_closed(start: Start, tensor: str) -> None:
    datatypes: dict[str, Any] = {tensor: "INT64"}
    server = Server(**datatypes)
    with (
        mock.patch.object(TritonServer, "close", autospec=True, side_effect=TritonServer.close) as close,
        pytest.raises(ModelError, match=rf"{tensor}': 'INT64'.* expected .*generated with the model"),
    ):
        engine_on(start(server))
    assert server.peers == []
    close.assert_called_once()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (StatusCode.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size"),
        (StatusCode.UNAVAILABLE, "Request timeout expired"),
        (StatusCode.RESOURCE_EXHAUSTED, "no memory for now"),
    ],
)
def test_a_busy_server_is_retried_over_the_same_connection(
    monkeypatch: pytest.MonkeyPatch, start: Start, status: StatusCode, message: str
) -> None:
    pauses: list[float] = []
    server = Server()
    with closing(engine_on(start(server))) as engine:
        monkeypatch.setattr(triton, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
        server.refusals = [(status, message)] * 2
        engine.segment(np.ones((1, 10, 16, 16), np.uint16))
    assert len(set(server.peers)) == 1
    assert len(pauses) == 2
    assert 0 < pauses[0] <= 0.75 < pauses[0] + pauses[1]


def test_a_message_that_is_too_large_is_final(start: Start) -> None:
    refusal = StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (4194305 vs. 4194304)"
    with pytest.raises(ModelError, match="larger than max"):
        engine_on(start(Server(refusal)))


def test_a_window_arrives_unchanged(start: Start) -> None:
    server = Server()
    window = np.random.default_rng(0).integers(0, 2**16, (2, 10, 16, 48)).astype(np.uint16)
    with closing(engine_on(start(server))) as engine:
        for given in (window, window[:, :, ::-1], np.asfortranarray(window)):
            segments = engine.segment(given)
            request = server.requests[-1]
            assert (request.model_name, request.model_version) == ("corine-unet", "1")
            assert request.raw_input_contents[0] == given.tobytes()
            assert segments.class_index.shape == (2, 16, 48)


def test_a_host_that_does_not_resolve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(triton, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    with pytest.raises(EngineUnavailableError, match=r"the host triton.invalid does not resolve: correct EARTHSIG"):
        TritonEngine(shipped_repository(), MODEL, ["triton.invalid:8001"])
    assert pauses == 3 * [triton._PAUSE_S]
