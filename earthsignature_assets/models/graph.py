"""A model graph on whole arrays, for evaluation and checks. The chain runs models through `inference`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime


class Graph:
    """A `model.onnx` in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = False  # as in the embedded engine
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, reflectance: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Predict class index 1…K and confidence in percent, both (n, height, width) uint8.

        Args:
            reflectance: (n, bands, height, width) uint16 × 10000; height and width are multiples of the stride.
        """
        class_index: npt.NDArray[np.uint8]
        confidence: npt.NDArray[np.uint8]
        class_index, confidence = self.session.run(["class_index", "confidence"], {"reflectance": reflectance})
        return class_index, confidence

    def run_scene(self, reflectance: npt.NDArray[np.uint16], stride: int) -> npt.NDArray[np.uint8]:
        """Predict the class index, (height, width) uint8, of one image of any size, (bands, height, width) uint16.

        The image is padded at its lower and right edge to a multiple of the stride, and the result cropped.
        """
        class_index, _ = self.run(padded(reflectance, stride)[None])
        return class_index[0, : reflectance.shape[1], : reflectance.shape[2]]


def padded(reflectance: npt.NDArray[np.uint16], stride: int) -> npt.NDArray[np.uint16]:
    """Pad an image, (bands, height, width), with its last pixels to multiples of the stride."""
    down, right = (-length % stride for length in reflectance.shape[1:])
    return np.pad(reflectance, ((0, 0), (0, down), (0, right)), "edge")
