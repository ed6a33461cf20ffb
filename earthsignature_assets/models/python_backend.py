"""The model of Triton's python backend: a version's graph with ONNX Runtime on processors.

`triton_repository` copies this file into each version's folder as `model.py`. It runs in the server's environment,
which needs onnxruntime and numpy before 2, and imports nothing else of this package.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import triton_python_backend_utils as backend

OUTPUTS = ["class_index", "confidence"]


class TritonPythonModel:
    """One instance of a model version, in a separate process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph.

        Args:
            args: properties of the model from the server, among them its configuration as JSON.
        """
        options = ort.SessionOptions()
        parameters = json.loads(args["model_config"])["parameters"]
        options.intra_op_num_threads = int(parameters["threads"]["string_value"])
        options.inter_op_num_threads = 1
        # As in the embedded engine.
        options.enable_mem_pattern = False
        graph = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def answer(self, reflectance: npt.NDArray[np.uint16]) -> list[npt.NDArray[np.uint8]]:
        """Run the windows of one request: (n, bands, height, width) to two arrays (n, height, width)."""
        answers: list[npt.NDArray[np.uint8]] = self.session.run(OUTPUTS, {"reflectance": reflectance})
        return answers

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        responses = []
        for request in requests:
            reflectance = backend.get_input_tensor_by_name(request, "reflectance").as_numpy()
            answer = zip(OUTPUTS, self.answer(reflectance), strict=True)
            responses.append(backend.InferenceResponse([backend.Tensor(name, values) for name, values in answer]))
        return responses
