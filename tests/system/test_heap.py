"""Return of free memory to the system."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from earthsignature_assets.system.heap import return_free_memory


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_freed_by_a_thread_is_returned_although_a_later_block_stays() -> None:
    def fill_and_free() -> bytes:
        blocks = [b"x" * 100_000 for _ in range(2_000)]
        return blocks[-1]  # after all others: the heap cannot shrink by itself

    with ThreadPoolExecutor(1) as threads:
        kept = threads.submit(fill_and_free).result()
        before = resident_mb()
        return_free_memory()
        assert resident_mb() < before - 100
    assert len(kept) == 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="parts of the heap are counted in /proc")
def test_threads_share_one_arena_for_each_processor() -> None:
    program = """
import os, re, threading
from pathlib import Path
from earthsignature_assets.system.heap import share_heap_between_threads
share_heap_between_threads()
count = 4 * max(2, os.cpu_count() or 1)
begun, ended = threading.Barrier(count + 1), threading.Barrier(count + 1)
def work():
    held = [bytearray(100_000) for _ in range(20)]
    begun.wait(); ended.wait()
for _ in range(count):
    threading.Thread(target=work).start()
begun.wait()
# glibc reserves 64 MiB, so aligned, for each part but the first.
parts = set()
for line in Path("/proc/self/maps").read_text().splitlines():
    start, end = (int(side, 16) for side in line.split()[0].split("-"))
    if start % (64 << 20) == 0 and end - start < 64 << 20 and len(line.split()) == 5:
        parts.add(start)
print(len(parts), count)
ended.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    parts, threads = map(int, done.stdout.split())
    assert parts < max(2, os.cpu_count() or 1) + 2 < threads
