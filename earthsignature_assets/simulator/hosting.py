"""Servers on loopback: simulated files over HTTP with byte ranges, and a STAC API over simulated items.

Each server is a separate process that ends with its context.
"""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earthsignature_assets.errors import ProviderUnavailableError

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


@contextmanager
def serve_files(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on a free loopback port while the block runs; GDAL reads it by ranges.

    Files that appear in the folder later are served too, so a scene can be simulated for this URL.

    Args:
        folder: created if absent; it may be empty.

    Yields:
        The URL of the folder, `http://127.0.0.1:<port>`, without a trailing slash.

    Raises:
        ProviderUnavailableError: the server did not start; the message has its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("file_server.py")
    with socket.create_server((_LOOPBACK, 0)) as listener:
        root = f"http://{_LOOPBACK}:{listener.getsockname()[1]}"
        # -P: the script's folder must not hide installed packages.
        command = [sys.executable, "-P", str(script), str(folder.resolve()), str(listener.fileno())]
        with _running(command, root, (listener.fileno(),)):
            yield root


@contextmanager
def serve_stac(item_paths: Sequence[Path], port: int = 0) -> Iterator[str]:
    """Run a STAC API (rustac's, in memory) over items on a free loopback port while the block runs.

    Collections are derived from the items, which are read once, at the start.

    Args:
        item_paths: the STAC item files to load.
        port: the port to listen on; 0 for a free port.

    Yields:
        The API's root URL, `http://127.0.0.1:<port>`, without a trailing slash.

    Raises:
        ProviderUnavailableError: the server did not start; the message has its output.
    """
    with socket.create_server((_LOOPBACK, port)) as probe:
        address = f"{_LOOPBACK}:{probe.getsockname()[1]}"
    executable = Path(sys.executable).parent / "rustac"
    items = [str(path.resolve()) for path in item_paths]
    command = [str(executable), "serve", "--create-collections", "--addr", address, *items]
    with _running(command, f"http://{address}"):
        yield f"http://{address}"


@contextmanager
def _running(command: list[str], root: str, descriptors: Sequence[int] = ()) -> Iterator[None]:
    """Run a server while the block runs, which starts once `root` responds."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=tuple(descriptors)
        )
        try:
            if not _answers(root, process):
                process.kill()
                process.wait()
                output.seek(0)
                output_text = output.read().decode(errors="replace").strip() or "nothing"
                raise ProviderUnavailableError(
                    f"{Path(command[0]).name} did not respond at {root}: {output_text[-2000:]}"
                )
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(root: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(root, timeout=2.0):  # noqa: S310 - always http on loopback
                return True
        except urllib.error.HTTPError:
            return True  # it responds, although a folder has no page
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    return False
