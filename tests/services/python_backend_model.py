"""What Triton's python backend runs in the tests: a version's own graph, with ONNX Runtime on processors.

Copied into each version's folder as `model.py`; it runs in the server's environment, not in that of the tests.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as backend

OUTPUTS = ["class_index", "confidence"]


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        options.enable_cpu_mem_arena = False
        graph = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def answer(self, reflectance: np.ndarray) -> list[np.ndarray]:
        return self.session.run(OUTPUTS, {"reflectance": reflectance})

    def execute(self, requests: list) -> list:
        responses = []
        for request in requests:
            reflectance = backend.get_input_tensor_by_name(request, "reflectance").as_numpy()
            answer = zip(OUTPUTS, self.answer(reflectance), strict=True)
            responses.append(backend.InferenceResponse([backend.Tensor(name, values) for name, values in answer]))
        return responses
