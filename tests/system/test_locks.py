import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from earthsignature_assets.system.locks import locked, locked_if_free

HOLDER = """
import sys
from pathlib import Path
from earthsignature_assets.system.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that holds the lock until it reads a line, or is killed."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_that_another_process_holds_is_not_free(path: Path, holder: subprocess.Popen[bytes]) -> None:
    with locked_if_free(path) as held:
        assert not held
    holder.communicate(b"\n")
    with locked_if_free(path) as held:
        assert held


def test_a_waiter_gets_the_lock_when_its_holder_is_done(path: Path, holder: subprocess.Popen[bytes]) -> None:
    acquired = threading.Event()

    def wait() -> None:
        with locked(path):
            acquired.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not acquired.wait(0.2)
    holder.communicate(b"\n")
    waiter.join(60)
    assert acquired.is_set()


def test_the_lock_of_a_killed_process_is_free(path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked_if_free(path) as held:
        assert held


def test_a_lock_whose_file_its_holder_removed_excludes_again(path: Path) -> None:
    inside = threading.Event()

    def wait() -> None:
        with locked(path), locked_if_free(path) as held:
            assert not held  # the waiter holds the lock of the file that is there now
            inside.set()

    waiter = threading.Thread(target=wait)
    with locked(path):
        waiter.start()
        assert not inside.wait(0.2)
        path.unlink()
    waiter.join(60)
    assert inside.is_set()
