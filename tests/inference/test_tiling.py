import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthsignature_assets.errors import ModelError
from earthsignature_assets.inference.tiling import pad, spans


@given(
    length=st.integers(1, 700),
    cells=st.integers(1, 12),
    halo_cells=st.integers(0, 5),
    stride=st.sampled_from([1, 2, 8, 16]),
)
def test_cores_cover_every_pixel_once_and_reads_lie_on_the_stride(
    length: int, cells: int, halo_cells: int, stride: int
) -> None:
    covered = np.zeros(length, int)
    for span in spans(length, cells * stride, halo_cells * stride, stride):
        covered[span.core] += 1
        assert span.read_start % stride == 0
        assert (span.read_stop - span.read_start) % stride == 0
        assert span.start - span.read_start == halo_cells * stride
        assert span.read_stop - span.stop >= halo_cells * stride
        before, after = span.padding(length)
        inside = span.inside(length)
        assert before + (inside.stop - inside.start) + after == span.read_stop - span.read_start
    assert (covered == 1).all()


@given(length=st.integers(1, 90), stride=st.sampled_from([2, 4]))
def test_the_core_has_its_position_in_the_padded_read(length: int, stride: int) -> None:
    array = np.arange(1, length + 1, dtype=np.uint16)[np.newaxis]
    for span in spans(length, 4 * stride, 2 * stride, stride):
        read = pad(array[:, span.inside(length)], (0, 0), span.padding(length))
        assert read.shape[1] == span.read_stop - span.read_start
        assert np.array_equal(read[0, span.core_in_read], array[0, span.core])


@pytest.mark.parametrize(("core", "halo"), [(12, 8), (16, 4), (0, 8)])
def test_windows_off_the_stride_are_refused(core: int, halo: int) -> None:
    with pytest.raises(ModelError, match="multiples of the stride 8"):
        list(spans(100, core, halo, 8))
