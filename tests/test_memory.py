"""Free memory goes back to the system."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from earthsignature_assets.memory import return_free_memory


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_what_a_thread_has_freed_goes_back_though_one_block_after_it_stays() -> None:
    def fill_and_free() -> bytes:
        blocks = [b"x" * 100_000 for _ in range(2_000)]
        return blocks[-1]  # above all others: the heap cannot shrink by itself

    with ThreadPoolExecutor(1) as threads:
        kept = threads.submit(fill_and_free).result()
        before = resident_mb()
        return_free_memory()
        assert resident_mb() < before - 100
    assert len(kept) == 100_000
