"""The Triton engine: NVIDIA's inference servers over gRPC, several of them with failover.

`triton_server.py` says how one server is called and what its faults mean. Here:

    away        the next endpoint takes over and stays in use; three times around, with pauses in between, then
                EngineUnavailableError
    busy        the next endpoint, after a pause that doubles; for as long as one window may take, then
                EngineUnavailableError
    pressure    an engine has at most `windows_at_once` windows at its servers; with as many engines as scenes are
                segmented in parallel, that bounds what a server holds, and the queue in its configuration bounds it
                for all clients together
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
    """Runs a model version on Triton servers that serve the same model repository."""

    def __init__(
        self,
        repository: ModelRepository,
        model: ModelVersion,
        endpoints: Sequence[str],
        windows_at_once: int = 4,
        deadline_s: float = 120.0,
    ) -> None:
        """Find a server that answers for the version.

        Args:
            repository: where the version's description is.
            model: which version.
            endpoints: `host:port` of each server, in order of preference.
            windows_at_once: how many windows may be at the servers at once; one more than a server on processors has
                instances, so that none of them waits for a window on its way.
            deadline_s: seconds that one inference may take, and that a busy server is waited for.

        Raises:
            ModelError: the version is absent from the repository or a server, or what the server has is not what
                the description promises.
            EngineUnavailableError: no endpoint answers.
        """
        if not endpoints:
            raise ModelError(f"{model}: Triton has no endpoint: set EARTHSIGNATURE_TRITON to host:port")
        self._description = repository.describe(model)
        self._windows_at_once, self._deadline_s = windows_at_once, deadline_s
        self._endpoints, self._lock = list(endpoints), threading.Lock()
        self._idle: list[TritonServer] = []
        self.segment(canary(self._description))

    @property
    def description(self) -> ModelDescription:
        """What the model needs and tells."""
        return self._description

    @property
    def windows_at_once(self) -> int:
        """How many windows may be at the servers at once."""
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
                # Not all at once again: those who were refused together come back apart.
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
            f"{self._description.model}: no Triton endpoint answers ({'; '.join(faults.values())}): "
            "start or restart the server, or correct EARTHSIGNATURE_TRITON"
        )

    def close(self) -> None:
        """Close the connections; the next call opens one again."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, endpoint: str, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Let a server segment, over an idle connection or a new one; one that failed is closed."""
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
        """Put an endpoint behind the others; another thread may have done so already."""
        with self._lock:
            if self._endpoints[0] == endpoint:
                self._endpoints.append(self._endpoints.pop(0))
