"""The Triton engine: NVIDIA's inference servers over gRPC, with failover between several of them.

`triton_server.py` defines the calls of one server and the meaning of its errors. Here:

    away        the next endpoint takes over and stays in use; after three rounds, with pauses in between,
                EngineUnavailableError
    busy        the next endpoint, after a pause that doubles; after the deadline of one window,
                EngineUnavailableError
    load        an engine has at most `windows_at_once` windows at its servers, which bounds the load of one client;
                the queue in a server's configuration bounds the load of all clients together
"""

import logging
import random
import re
import threading
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from earthsignature_assets.errors import EngineBusyError, EngineUnavailableError, InvalidKeyError, ModelError
from earthsignature_assets.inference.engine import Segments, canary, check_request
from earthsignature_assets.inference.triton_server import TritonServer
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository

_ROUNDS = 3
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")

_log = logging.getLogger(__name__)


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Parse endpoints, `host:port` separated by commas; an IPv6 host is in brackets.

    Raises:
        InvalidKeyError: one of them is something else, for example a URL.
    """
    endpoints = tuple(part.strip() for part in text.split(",") if part.strip())
    for endpoint in endpoints:
        match = _ENDPOINT.fullmatch(endpoint)
        if not match or not 1 <= int(match[1]) <= 65535:
            raise InvalidKeyError(f"{endpoint!r} is not a Triton endpoint: give host:port of its gRPC service")
    return endpoints


class TritonEngine:
    """An engine that runs a model version on Triton servers, which serve the same model repository."""

    def __init__(
        self,
        repository: ModelRepository,
        model: ModelVersion,
        endpoints: Sequence[str],
        windows_at_once: int = 4,
        deadline_s: float = 120.0,
    ) -> None:
        """Find a server that runs the version.

        Args:
            repository: the model repository with the version's description.
            model: the version.
            endpoints: `host:port` of each server, in order of preference.
            windows_at_once: largest number of windows at the servers at once; one more than the instances of a server
                without GPU, so that none of them waits for a window in transit.
            deadline_s: longest time for one inference, and longest wait for a busy server.

        Raises:
            ModelError: the version is absent from the repository or a server, or the server's version contradicts
                the description.
            EngineUnavailableError: no endpoint responds.
        """
        if not endpoints:
            raise ModelError(f"{model}: there is no Triton endpoint: set EARTHSIGNATURE_TRITON to host:port")
        self._description = repository.describe(model)
        self._windows_at_once, self._deadline_s = windows_at_once, deadline_s
        self._endpoints, self._lock = list(endpoints), threading.Lock()
        self._idle: list[TritonServer] = []
        self.segment(canary(self._description))

    @property
    def description(self) -> ModelDescription:
        """Description of the model version."""
        return self._description

    @property
    def windows_at_once(self) -> int:
        """Largest number of windows at the servers at once."""
        return self._windows_at_once

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows; see `Engine.segment`."""
        check_request(self._description, reflectance)
        faults: dict[str, str] = {}
        times_away, pause_s, busy_until = 0, _PAUSE_S, float("inf")
        while times_away < _ROUNDS * len(self._endpoints):
            endpoint = self._endpoints[0]
            try:
                return self._ask(endpoint, reflectance)
            except EngineBusyError as error:
                faults[endpoint] = str(error)
                busy_until = min(busy_until, time.monotonic() + self._deadline_s)
                if time.monotonic() + pause_s > busy_until:
                    break
                self._ask_last(endpoint)
                # Spread the retries: clients that were refused together must not return together.
                time.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - no secret
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except EngineUnavailableError as error:
                _log.warning("%s", error)
                faults[endpoint] = str(error)
                self._ask_last(endpoint)
                times_away += 1
                if times_away % len(self._endpoints) == 0:
                    time.sleep(_PAUSE_S)
        raise EngineUnavailableError(
            f"{self._description.model}: no Triton endpoint responds ({'; '.join(faults.values())}): "
            "start or restart the server, or correct EARTHSIGNATURE_TRITON"
        )

    def close(self) -> None:
        """Close the connections; the next call opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, endpoint: str, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Let a server segment over an idle or a new connection; close a connection that failed."""
        server = self._idle_server(endpoint) or self._opened(endpoint)
        try:
            segments = server.segment(reflectance)
        except EngineBusyError:
            self._idle.append(server)
            raise
        except (ModelError, EngineUnavailableError):
            server.close()
            raise
        self._idle.append(server)
        return segments

    def _opened(self, endpoint: str) -> TritonServer:
        server = TritonServer(self._description, endpoint, self._deadline_s)
        try:
            server.open()
        except (ModelError, EngineUnavailableError):
            server.close()
            raise
        return server

    def _idle_server(self, endpoint: str) -> TritonServer | None:
        with self._lock:
            found = next((server for server in self._idle if server.endpoint == endpoint), None)
            if found:
                self._idle.remove(found)
            return found

    def _ask_last(self, endpoint: str) -> None:
        """Move an endpoint behind the others, unless another thread has done so."""
        with self._lock:
            if self._endpoints[0] == endpoint:
                self._endpoints.append(self._endpoints.pop(0))
