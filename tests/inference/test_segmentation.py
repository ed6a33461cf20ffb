import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earthsignature_assets.errors import ModelError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.inference.embedded import EmbeddedEngine
from earthsignature_assets.inference.engine import Segments
from earthsignature_assets.inference.segmentation import segment_scene
from earthsignature_assets.inference.segmentation_store import SegmentationStore
from earthsignature_assets.inference.tiling import pad
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import ModelDescription, PredictedClass, shipped_repository
from earthsignature_assets.sentinel2 import S2_BANDS

MakePatches = Callable[..., PatchStore]


class BlockEngine:
    """A stand-in for a network with a known receptive field: two-level pooling of a box, exact in integers.

    Each output depends on the (2 · reach + stride) pixels around its stride cell, and on nothing else.
    """

    def __init__(self, stride: int = 4, reach: int = 8) -> None:
        self.stride, self.reach, self.calls, self.lock = stride, reach, 0, threading.Lock()
        self.description = ModelDescription(
            model=ModelVersion("block", 1),
            bands=S2_BANDS,
            level="L2A",
            resolution_m=10.0,
            stride=stride,
            receptive_field=2 * reach + stride,
            halo=-(-(reach + stride) // stride) * stride,
            classes=tuple(PredictedClass(code, 3, "test") for code in (112, 211, 312, 512)),
            sha256="",
        )

    windows_at_once = 2

    def segment(self, reflectance: npt.NDArray[np.uint16]) -> Segments:
        with self.lock:
            self.calls += 1
        total = reflectance.sum(axis=1, dtype=np.int64)
        n, height, width = total.shape
        cells = total.reshape(n, height // self.stride, self.stride, width // self.stride, self.stride).sum(axis=(2, 4))
        reach = self.reach // self.stride
        padded = np.pad(cells, [(0, 0), (reach, reach), (reach, reach)])
        box: np.ndarray | int = sum(
            padded[:, y : y + cells.shape[1], x : x + cells.shape[2]]
            for y in range(2 * reach + 1)
            for x in range(2 * reach + 1)
        )
        index = np.asarray(box % 4 + 1).astype(np.uint8).repeat(self.stride, axis=1).repeat(self.stride, axis=2)
        return Segments(index, (25 + total % 76).astype(np.uint8))


def whole_array(engine: BlockEngine, patches: PatchStore) -> np.ndarray:
    """Run the engine on the whole scene at once, surrounded by no data."""
    halo, stride = engine.description.halo, engine.stride
    height, width = patches.grid.shape
    sides = [(halo, halo + -length % stride) for length in (height, width)]
    everything = pad(patches.reflectance(slice(None)), sides[0], sides[1])
    index = engine.segment(everything[np.newaxis]).class_index[0, halo : halo + height, halo : halo + width]
    return np.where(patches.no_data(), 0, index)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    core=st.sampled_from([16, 32, 48, 64, 128, 256]),
    stride=st.sampled_from([1, 2, 4, 8]),
    reach=st.integers(0, 4),
    patch_size=st.sampled_from([32, 64, 96]),
    edge=st.floats(0, 0.9),
    slant=st.floats(-1, 1),
    holes=st.floats(0, 0.3),
)
def test_the_tiled_result_equals_the_whole_array_bit_for_bit(
    make_patches: MakePatches,
    tmp_path: Path,
    height: int,
    width: int,
    core: int,
    stride: int,
    reach: int,
    patch_size: int,
    edge: float,
    slant: float,
    holes: float,
) -> None:
    rows, columns = np.mgrid[:height, :width]
    valid = columns >= edge * width + slant * rows
    valid &= np.random.default_rng(width).random((height, width)) >= holes
    patches = make_patches((height, width), valid, seed=height, patch_size=patch_size)
    engine = BlockEngine(stride, reach=reach * stride)
    segment_scene(patches, engine, tmp_path / "tiled.zarr", core=core)
    tiled = SegmentationStore(tmp_path / "tiled.zarr")
    assert np.array_equal(tiled.class_index, whole_array(engine, patches))


def test_the_shipped_model_in_windows_equals_the_whole_array_bit_for_bit(
    make_patches: MakePatches, tmp_path: Path
) -> None:
    rows, columns = np.mgrid[:410, :530]
    patches = make_patches((410, 530), (columns + rows // 3 > 170) & ~((rows // 90 == 2) & (columns // 40 % 3 == 0)))
    engine = EmbeddedEngine(shipped_repository(), ModelVersion("corine-unet", 1))
    halo = engine.description.halo
    everything = pad(patches.reflectance(slice(None)), (halo, halo + 6), (halo, halo + 6))
    whole = engine.segment(everything[np.newaxis])
    here = (0, slice(halo, halo + 410), slice(halo, halo + 530))
    for core in (64, 200, 512):
        segment_scene(patches, engine, tmp_path / "tiled.zarr", core=core)
        tiled = SegmentationStore(tmp_path / "tiled.zarr")
        assert np.array_equal(tiled.class_index, np.where(patches.no_data(), 0, whole.class_index[here]))
        assert np.array_equal(tiled.confidence, np.where(patches.no_data(), 0, whole.confidence[here]))


def test_windows_are_trimmed_to_their_valid_pixels(make_patches: MakePatches, tmp_path: Path) -> None:
    valid = np.zeros((256, 256), bool)
    valid[70:90, 3:13] = valid[200, 255] = True
    engine = BlockEngine(stride=4, reach=4)
    summary = segment_scene(make_patches((256, 256), valid), engine, tmp_path / "s.zarr", core=128)
    halo = engine.description.halo
    assert (summary.windows, summary.windows_skipped, summary.valid_pixels) == (4, 2, 201)
    # Rows 68…90 and columns 0…13 on the stride; one pixel needs one cell of the stride.
    assert summary.pixels_sent == (24 + 2 * halo) * (16 + 2 * halo) + (4 + 2 * halo) ** 2


@pytest.mark.parametrize(
    ("patches", "named"),
    [
        ({"level": "L1C"}, "block-v1 takes level L2A, the patches at .* have L1C"),
        ({"bands": S2_BANDS[:9]}, "block-v1 takes bands .*B12.* have"),
    ],
)
def test_patches_that_do_not_fit_the_model_are_refused(
    make_patches: MakePatches, tmp_path: Path, patches: dict[str, object], named: str
) -> None:
    engine = BlockEngine()
    with pytest.raises(ModelError, match=named):
        segment_scene(make_patches((64, 64), **patches), engine, tmp_path / "s.zarr", core=64)
    assert engine.calls == 0


def test_the_engine_gets_no_more_windows_at_once_than_it_allows(make_patches: MakePatches, tmp_path: Path) -> None:
    class Counting(BlockEngine):
        under_way = most = 0

        def segment(self, reflectance: np.ndarray) -> Segments:
            with self.lock:
                self.under_way += 1
                self.most = max(self.most, self.under_way)
            answer = super().segment(reflectance)
            time.sleep(0.01)
            with self.lock:
                self.under_way -= 1
            return answer

    engine = Counting()
    segment_scene(make_patches((300, 300)), engine, tmp_path / "s.zarr", core=64)
    assert (engine.calls, engine.most) == (25, 2)


def test_windows_without_a_valid_pixel_are_never_sent(make_patches: MakePatches, tmp_path: Path) -> None:
    valid = np.zeros((256, 256), bool)
    valid[10:20, 200:210] = True
    engine = BlockEngine()
    summary = segment_scene(make_patches((256, 256), valid), engine, tmp_path / "s.zarr", core=64)
    assert engine.calls == 1
    assert (summary.windows, summary.windows_skipped, summary.valid_pixels) == (16, 15, 100)
    assert sum(summary.pixels_by_code.values()) == 100


def test_a_scene_without_a_valid_pixel_gives_an_empty_segmentation(make_patches: MakePatches, tmp_path: Path) -> None:
    engine = BlockEngine()
    summary = segment_scene(make_patches((100, 80), np.zeros((100, 80), bool)), engine, tmp_path / "s.zarr", core=64)
    assert engine.calls == 0
    assert summary.pixels_by_code == {}
    assert not SegmentationStore(tmp_path / "s.zarr").class_index.any()


def test_outside_the_swath_class_and_confidence_are_zero(make_patches: MakePatches, tmp_path: Path) -> None:
    valid = np.random.default_rng(4).random((150, 170)) < 0.5
    patches = make_patches((150, 170), valid)
    summary = segment_scene(patches, BlockEngine(), tmp_path / "s.zarr", core=64)
    store = SegmentationStore(tmp_path / "s.zarr")
    assert np.array_equal(store.class_index > 0, valid)
    assert not store.confidence[~valid].any()
    assert summary.mean_confidence_percent == pytest.approx(store.confidence[valid].mean())


def test_progress_ends_at_all_windows(make_patches: MakePatches, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    segment_scene(
        make_patches((130, 130)), BlockEngine(), tmp_path / "s.zarr", core=64, progress=lambda *at: seen.append(at)
    )
    assert seen[-1] == (9, 9)


def test_a_failing_engine_leaves_nothing_behind(make_patches: MakePatches, tmp_path: Path) -> None:
    class Failing(BlockEngine):
        def segment(self, reflectance: np.ndarray) -> Segments:
            if self.calls >= 2:
                raise ModelError("out of order")
            return super().segment(reflectance)

    with pytest.raises(ModelError, match="out of order"):
        segment_scene(make_patches((200, 200)), Failing(), tmp_path / "s.zarr", core=64)
    assert [path.name for path in tmp_path.iterdir() if "s.zarr" in path.name] == []
    with pytest.raises(ModelError, match="materialise `segmentation`"):
        SegmentationStore(tmp_path / "s.zarr")
