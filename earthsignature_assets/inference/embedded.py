"""The embedded engine: ONNX Runtime inside this process."""

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.engine import Segments, canary, check_request, check_segments
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, ModelRepository

_OUTPUTS = ["class_index", "confidence"]
_WINDOWS_AT_ONCE = 2


class EmbeddedEngine:
    """An engine that runs a model version with ONNX Runtime on this machine's processors."""

    def __init__(self, repository: ModelRepository, model: ModelVersion, threads: int = 2) -> None:
        """Load a model version.

        Args:
            repository: the model repository.
            model: the version.
            threads: number of threads for all calls together.

        Raises:
            ModelError: the version is absent or damaged, or its graph violates the repository's contract.
        """
        self._description = repository.describe(model)
        self._windows_at_once = min(threads, _WINDOWS_AT_ONCE)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads // self._windows_at_once
        options.inter_op_num_threads = 1
        # With the arena, memory is mapped once and not for each window: a third of the time. It lives as long as the
        # engine. Memory patterns, one for each window shape, would double it.
        options.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(
                repository.graph(model).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(f"{model}: the graph cannot be loaded: {error}") from error
        self._check_graph(model)
        self.segment(canary(self._description))

    @property
    def windows_at_once(self) -> int:
        """Largest number of concurrent windows: two share the processors better than one with all threads."""
        return self._windows_at_once

    @property
    def description(self) -> ModelDescription:
        """Description of the model version."""
        return self._description

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        """Segment a batch of windows; see `Engine.segment`."""
        check_request(self._description, reflectance)
        class_index, confidence = self._session.run(_OUTPUTS, {"reflectance": reflectance})
        segments = Segments(class_index, confidence)
        check_segments(self._description, reflectance, segments)
        return segments

    def _check_graph(self, model: ModelVersion) -> None:
        inputs = {tensor.name: (tensor.type, tensor.shape) for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor.type for tensor in self._session.get_outputs()}
        bands = len(self._description.bands)
        kind, shape = inputs.get("reflectance", ("nothing", []))
        if len(inputs) != 1 or kind != "tensor(uint16)" or len(shape) != 4 or shape[1] != bands:
            raise ModelError(f"{model}: the graph takes {inputs}, expected reflectance uint16 (n, {bands}, h, w)")
        if any(outputs.get(name) != "tensor(uint8)" for name in _OUTPUTS):
            raise ModelError(f"{model}: the graph gives {outputs}, expected class_index and confidence as uint8")
