"""One NVIDIA Triton server that runs one model version: its calls, and the meaning of its errors.

    deadline    every call has one: 10 s for metadata, 2 min to load a model, the engine's own for an inference
    away        UNAVAILABLE and DEADLINE_EXCEEDED, and INTERNAL, the status of a server whose backend process has died:
                EngineUnavailableError
    busy        a full queue, or a window that waited in it for too long, both of which are UNAVAILABLE as well;
                RESOURCE_EXHAUSTED; and a version that another client is unloading: EngineBusyError
    final       every other status, INVALID_ARGUMENT among them, and output that contradicts the model's description:
                ModelError

Before the first window a server loads the version, its metadata are checked, and it must run a small inference as
described: a server with a dead backend still reports ready. Tensors travel in the messages, never in shared memory,
which a killed client would leave behind.
"""

import grpc
import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from earthsignature_assets.errors import EngineBusyError, EngineUnavailableError, ModelError
from earthsignature_assets.inference.engine import Segments, canary, check_segments
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.system.protobuf_wire import field_head

_QUESTION_DEADLINE_S = 10.0
_LOAD_DEADLINE_S = 120.0
_AWAY = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.INTERNAL"}
_FULL = ("maximum queue size", "request timeout expired")
_UNRESOLVED = ("name resolution", "dns resolution", "errors resolving")
_TOO_LARGE = "larger than max"
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_RAW_INPUT_CONTENTS = service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
_INPUTS = {"reflectance": "UINT16"}
_OUTPUTS = {"class_index": "UINT8", "confidence": "UINT8"}


class TritonServer:
    """A connection to one server, for one thread at a time."""

    def __init__(self, description: ModelDescription, endpoint: str, deadline_s: float) -> None:
        """Prepare a connection; `open` connects.

        Args:
            description: description of the model version.
            endpoint: `host:port` of the server's gRPC service.
            deadline_s: longest time for one inference, in seconds.
        """
        self.endpoint = endpoint
        self._model = description.model
        self._name, self._version = description.model.name, str(description.model.version)
        self._description, self._deadline_s = description, deadline_s
        self._client = triton.InferenceServerClient(endpoint)
        self._channel = grpc.insecure_channel(endpoint, options=_UNLIMITED)
        self._infer: grpc.UnaryUnaryMultiCallable[bytes, service_pb2.ModelInferResponse] = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=None,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )

    def open(self) -> None:
        """Connect, and check that the server has the version as described and can run it.

        Raises:
            ModelError: the server cannot load the version, or has another model under its name.
            EngineBusyError: the server cannot take a window now.
            EngineUnavailableError: the server does not respond.
        """
        try:
            if not self._is_ready():
                self._load()
            self._check_metadata()
        except InferenceServerException as error:
            raise self._fault(error) from error
        self.segment(canary(self._description))

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows; see `Engine.segment`.

        Raises:
            ModelError: the server refuses the call, or its output contradicts the description.
            EngineBusyError: the server's queue is full.
            EngineUnavailableError: the server does not respond.
        """
        try:
            answer = triton.InferResult(self._infer(self._request(reflectance), timeout=self._deadline_s))
        except grpc.RpcError as error:
            raise self._fault(InferenceServerException(error.details(), str(error.code()))) from error
        segments = Segments(*(self._tensor(answer, name) for name in _OUTPUTS))
        check_segments(self._description, reflectance, segments)
        return segments

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
        self._client.close()

    def _request(self, reflectance: npt.NDArray[np.uint16]) -> bytes:
        """Encode a `ModelInferRequest`; the client's own `infer` would copy the tensor's 25 MB twice more."""
        head = service_pb2.ModelInferRequest(model_name=self._name, model_version=self._version)
        head.inputs.add(name="reflectance", datatype="UINT16", shape=reflectance.shape)
        for name in _OUTPUTS:
            head.outputs.add(name=name)
        content = np.ascontiguousarray(reflectance).data.cast("B")
        return b"".join((head.SerializeToString(), field_head(_RAW_INPUT_CONTENTS, len(content)), content))

    def _is_ready(self) -> bool:
        return bool(self._client.is_model_ready(self._name, self._version, client_timeout=_QUESTION_DEADLINE_S))

    def _load(self) -> None:
        """Load the model with its own configuration: one passed with the call would drop the model's other versions."""
        try:
            self._client.load_model(self._name, client_timeout=_LOAD_DEADLINE_S)
        except InferenceServerException as error:
            # INTERNAL does not mean a dead process here: the server has no such model, or a broken one.
            if error.status() in _AWAY - {"StatusCode.INTERNAL"}:
                raise
            raise ModelError(
                f"{self._model} cannot be loaded by Triton at {self.endpoint}: {error.message()}"
            ) from error
        if not self._is_ready():
            index = self._client.get_model_repository_index(client_timeout=_QUESTION_DEADLINE_S)
            if any((entry.name, entry.version) == (self._name, self._version) for entry in index.models):
                raise EngineBusyError(
                    f"another client is unloading {self._model} from Triton at {self.endpoint}: try again"
                )
            raise ModelError(
                f"{self._model} is not on Triton at {self.endpoint}: its repository must hold "
                f"{self._name}/{self._version}, and its version policy must serve it"
            )

    def _check_metadata(self) -> None:
        metadata = self._client.get_model_metadata(self._name, self._version, client_timeout=_QUESTION_DEADLINE_S)
        inputs = {tensor.name: tensor.datatype for tensor in metadata.inputs}
        outputs = {tensor.name: tensor.datatype for tensor in metadata.outputs}
        bands = [tensor.shape[1] for tensor in metadata.inputs if len(tensor.shape) == 4]
        if inputs != _INPUTS or bands != [len(self._description.bands)] or not _OUTPUTS.items() <= outputs.items():
            raise ModelError(
                f"{self._model} on Triton at {self.endpoint} takes {inputs} of {bands} bands and returns {outputs}, "
                f"expected {_INPUTS} of {len(self._description.bands)} bands and {_OUTPUTS}: serve the config.pbtxt "
                "that was generated with the model"
            )

    def _tensor(self, answer: triton.InferResult, name: str) -> npt.NDArray[np.uint8]:
        try:
            values = answer.as_numpy(name)
        except ValueError as error:
            raise ModelError(
                f"{self._model}: Triton at {self.endpoint} returned {name} with fewer bytes than its shape needs: a "
                "python backend does that with numpy 2; install numpy<2 in its environment"
            ) from error
        if values is None:
            raise ModelError(
                f"{self._model}: Triton at {self.endpoint} returned no {name}: serve the graph that was exported"
            )
        # Copy, because the client returns a read-only view of the message.
        return np.array(values)

    def _fault(self, error: InferenceServerException) -> ModelError | EngineUnavailableError:
        status, message = str(error.status()), str(error.message())
        fault = f"{self._model} on Triton at {self.endpoint}: {status}: {message}"
        text = message.lower()
        full = any(sign in text for sign in _FULL)
        if full or (status == "StatusCode.RESOURCE_EXHAUSTED" and _TOO_LARGE not in text):
            return EngineBusyError(fault)
        if any(sign in text for sign in _UNRESOLVED):
            host = self.endpoint.rpartition(":")[0]
            return EngineUnavailableError(f"{fault} (the host {host} does not resolve: correct EARTHSIGNATURE_TRITON)")
        return EngineUnavailableError(fault) if status in _AWAY else ModelError(fault)
