"""The segmentation of a scene: one Zarr store that appears by one rename.

class_index   uint8 (y, x)   k is the k-th class of the model's description, 0 = no data
confidence    uint8 (y, x)   percent, 0 where there is no data
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from earthsignature_assets.errors import ModelError
from earthsignature_assets.system.atomic import whole_folder


class SegmentationStore:
    """The segmentation of one scene by one model version, on disk."""

    def __init__(self, path: Path) -> None:
        """Open a store.

        Raises:
            ModelError: there is no complete store at that path.
        """
        if not (path / "zarr.json").is_file():
            raise ModelError(f"there is no segmentation at {path}: materialise `segmentation` for this scene and model")
        self.path = path
        self._group = zarr.open_group(path, mode="r")

    @property
    def class_index(self) -> npt.NDArray[np.uint8]:
        """Class index of each pixel: (height, width) uint8, 0 = no data."""
        return np.asarray(_array(self._group, "class_index")[:], np.uint8)

    @property
    def confidence(self) -> npt.NDArray[np.uint8]:
        """Confidence of each pixel in percent: (height, width) uint8."""
        return np.asarray(_array(self._group, "confidence")[:], np.uint8)


class SegmentationWriter:
    """A writer of a segmentation, window by window."""

    def __init__(self, group: zarr.Group, shape: tuple[int, int], chunk: int) -> None:
        self._class_index, self._confidence = (
            group.create_array(
                name,
                shape=shape,
                chunks=(chunk, chunk),
                dtype="uint8",
                fill_value=0,
                compressors=BloscCodec(cname="zstd", clevel=3, shuffle="noshuffle"),
                dimension_names=("y", "x"),
            )
            for name in ("class_index", "confidence")
        )

    def write(
        self, rows: slice, columns: slice, class_index: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]
    ) -> None:
        """Write one window; both arrays are (rows, columns) uint8."""
        self._class_index[rows, columns] = class_index
        self._confidence[rows, columns] = confidence


@contextmanager
def create_segmentation_store(path: Path, shape: tuple[int, int], chunk: int) -> Iterator[SegmentationWriter]:
    """Write a store, which appears at `path` if the block succeeds; otherwise an earlier store stays.

    Args:
        path: path of the store; an earlier one is replaced.
        shape: rows and columns of the scene.
        chunk: side of a chunk in pixels, equal to that of a window's core, so that each chunk is written once.

    Raises:
        StoreUnavailableError: the store cannot be written.
    """
    with whole_folder(path) as partial:
        yield SegmentationWriter(zarr.open_group(partial, mode="w", zarr_format=3), shape, chunk)


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)  # noqa: S101 - narrows the type; the layout is ours
    return array
