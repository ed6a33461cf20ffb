"""The gRPC service in a separate process, while a block runs."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earthsignature_assets.errors import StoreUnavailableError

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0


@contextmanager
def service_process(
    store: Path | str, log: Path, listen: str = "127.0.0.1:0", catalogue: Path | str = ""
) -> Iterator[str]:
    """Serve a product store from another process; yield the address to connect to.

    Args:
        store: product store: a folder, or `s3://bucket/prefix`.
        log: file for the log of the service.
        listen: `host:port`, port 0 for a free one.
        catalogue: `postgresql://…` or a SQLite file; empty for the one of the store.

    Raises:
        StoreUnavailableError: the service did not start; the message has the end of its log.
    """
    command = [sys.executable, "-m", "earthsignature_grpc", "--store", str(store), "--listen", listen]
    command += ["--catalogue", str(catalogue)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Return the address in the first line of the service's output."""
    lines: queue.Queue[str] = queue.Queue()
    output = process.stdout
    assert output is not None  # noqa: S101 - opened as a pipe
    threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=_START_TIMEOUT_S)
    except queue.Empty:
        line = ""
    if not line.strip():
        end = log.read_text(encoding="utf-8")[-2000:].strip() or "nothing"
        raise StoreUnavailableError(f"the gRPC service did not start; it wrote: {end}")
    return line.split()[-1]
