"""The Triton engine: NVIDIA's inference server over gRPC.

How its servers are called, all of it:

    deadline    every call has one: 10 s for questions, 2 min for a load, `deadline_s` for an inference
    tried on    UNAVAILABLE and DEADLINE_EXCEEDED, and INTERNAL, which is what a server says whose backend process
                has died: the next endpoint, twice around, with a pause in between; then EngineUnavailableError
    terminal    every other status, INVALID_ARGUMENT and NOT_FOUND among them, and an answer that is not what the
                model's description promises: ModelError

Before the first window, and again after each fault, an endpoint is asked to load the version, its metadata are
checked, and it must answer a small inference as described: a server whose backend is dead still says ready. Tensors
travel in the messages, never in shared memory, which a killed client would leave behind. One engine has one call
under way, so that a server never holds more than a window for each scene that is being segmented.
"""

import logging
import re
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from earthsignature_assets.errors import EngineUnavailableError, InvalidKeyError, ModelError
from earthsignature_assets.inference.engine import Segments, check_request, check_segments
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository

_QUESTION_DEADLINE_S = 10.0
_LOAD_DEADLINE_S = 120.0
_ROUNDS = 2
_PAUSE_S = 0.5
_TRY_ELSEWHERE = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.INTERNAL"}
_CANARY_PIXELS = 64
_INPUTS = {"reflectance": "UINT16"}
_OUTPUTS = {"class_index": "UINT8", "confidence": "UINT8"}
_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")

_log = logging.getLogger(__name__)


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Read endpoints from `host:port` separated by commas; an IPv6 host stands in brackets.

    Raises:
        InvalidKeyError: one of them is something else, a URL for example.
    """
    endpoints = tuple(part.strip() for part in text.split(",") if part.strip())
    for endpoint in endpoints:
        match = _ENDPOINT.fullmatch(endpoint)
        if not match or not 1 <= int(match[1]) <= 65535:
            raise InvalidKeyError(f"{endpoint!r} is no Triton endpoint: write host:port of its gRPC service")
    return endpoints


class TritonEngine:
    """Runs a model version on Triton servers that serve the same model repository. For one thread at a time."""

    def __init__(
        self, repository: ModelRepository, model: ModelVersion, endpoints: Sequence[str], deadline_s: float = 120.0
    ) -> None:
        """Find a server that answers for the version.

        Args:
            repository: where the version's description is.
            model: which version.
            endpoints: `host:port` of each server, in order of preference.
            deadline_s: seconds that one inference may take.

        Raises:
            ModelError: the version is absent from the repository or a server, or what the server has is not what
                the description promises.
            EngineUnavailableError: no endpoint answers.
        """
        if not endpoints:
            raise ModelError(f"{model}: Triton has no endpoint: set EARTHSIGNATURE_TRITON to host:port")
        self._description = repository.describe(model)
        self._endpoints = list(endpoints)
        self._deadline_s = deadline_s
        self._client: triton.InferenceServerClient | None = None
        side = -(-_CANARY_PIXELS // self._description.stride) * self._description.stride
        self._canary = np.full((1, len(self._description.bands), side, side), 1000, np.uint16)
        self.segment(self._canary)

    @property
    def description(self) -> ModelDescription:
        """What the model needs and tells."""
        return self._description

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows; see `Engine.segment`."""
        check_request(self._description, reflectance)
        faults: dict[str, str] = {}
        for attempt in range(_ROUNDS * len(self._endpoints)):
            if attempt and attempt % len(self._endpoints) == 0:
                time.sleep(_PAUSE_S)
            endpoint = self._endpoints[0]
            try:
                client = self._client or self._open(endpoint)
                return self._infer(client, endpoint, reflectance)
            except ModelError:
                self.close()
                raise
            except InferenceServerException as error:
                self.close()
                fault = f"{endpoint}: {error.status()}: {error.message()}"
                if error.status() not in _TRY_ELSEWHERE:
                    raise ModelError(f"{self._description.model} on Triton at {fault}") from error
                _log.warning("%s on Triton at %s", self._description.model, fault)
                faults[endpoint] = fault
                # The next one stays in use from here on: the one that failed is the last to be asked again.
                self._endpoints.append(self._endpoints.pop(0))
        raise EngineUnavailableError(
            f"{self._description.model}: no Triton endpoint answers ({'; '.join(faults.values())}): "
            "start or restart the server, or correct EARTHSIGNATURE_TRITON"
        )

    def close(self) -> None:
        """Close the connection; the next call opens one again."""
        if self._client:
            self._client.close()
            self._client = None

    def _open(self, endpoint: str) -> triton.InferenceServerClient:
        """Connect to an endpoint and see that it has the version, as described, and that it can run it."""
        model = self._description.model
        name, version = model.name, str(model.version)
        self._client = client = triton.InferenceServerClient(endpoint)
        if not client.is_model_ready(name, version, client_timeout=_QUESTION_DEADLINE_S):
            _load(client, model, endpoint)
            if not client.is_model_ready(name, version, client_timeout=_QUESTION_DEADLINE_S):
                raise ModelError(
                    f"{model} is not on Triton at {endpoint}: its repository must hold {name}/{version}, and the "
                    "version policy must let it be served"
                )
        metadata = client.get_model_metadata(name, version, client_timeout=_QUESTION_DEADLINE_S)
        inputs = {tensor.name: tensor.datatype for tensor in metadata.inputs}
        outputs = {tensor.name: tensor.datatype for tensor in metadata.outputs}
        bands = [tensor.shape[1] for tensor in metadata.inputs if len(tensor.shape) == 4]
        if inputs != _INPUTS or bands != [len(self._description.bands)] or not _OUTPUTS.items() <= outputs.items():
            raise ModelError(
                f"{model} on Triton at {endpoint} takes {inputs} of {bands} bands and gives {outputs}, expected "
                f"{_INPUTS} of {len(self._description.bands)} bands and {_OUTPUTS}: serve the config.pbtxt that was "
                "generated with the model"
            )
        self._infer(client, endpoint, self._canary)
        return client

    def _infer(
        self, client: triton.InferenceServerClient, endpoint: str, reflectance: npt.NDArray[np.uint16]
    ) -> Segments:
        model = self._description.model
        request = triton.InferInput("reflectance", list(reflectance.shape), "UINT16")
        request.set_data_from_numpy(np.ascontiguousarray(reflectance))
        answer = client.infer(
            model.name,
            [request],
            model_version=str(model.version),
            outputs=[triton.InferRequestedOutput(name) for name in _OUTPUTS],
            client_timeout=self._deadline_s,
        )
        segments = Segments(*(_tensor(answer, name, model, endpoint) for name in _OUTPUTS))
        check_segments(self._description, reflectance, segments)
        return segments


def _load(client: triton.InferenceServerClient, model: ModelVersion, endpoint: str) -> None:
    """Load the model by its own configuration: one given with the call would drop the model's other versions."""
    try:
        client.load_model(model.name, client_timeout=_LOAD_DEADLINE_S)
    except InferenceServerException as error:
        # Here INTERNAL is no dead process: it is how a server says that it has no such model, or a broken one.
        if error.status() in _TRY_ELSEWHERE - {"StatusCode.INTERNAL"}:
            raise
        raise ModelError(f"{model} cannot be loaded by Triton at {endpoint}: {error.message()}") from error


def _tensor(answer: triton.InferResult, name: str, model: ModelVersion, endpoint: str) -> npt.NDArray[np.uint8]:
    try:
        values = answer.as_numpy(name)
    except ValueError as error:
        raise ModelError(
            f"{model}: Triton at {endpoint} answered {name} with fewer bytes than its shape has: a python backend "
            "does that when its environment has numpy 2; install numpy<2 there"
        ) from error
    if values is None:
        raise ModelError(f"{model}: Triton at {endpoint} answered without {name}")
    # Of its own, because what the client gives is a read-only view of the message.
    return np.array(values)
