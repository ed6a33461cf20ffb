"""Real servers, started on free loopback ports and stopped by the fixtures that started them."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of its own; the URL of its empty database."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        pytest.fail("PostgreSQL is missing: run scripts/install_services")
    programs, port = installed[-1].parent, _free_port()
    # PostgreSQL refuses to run as root, and its user cannot enter pytest's own folders.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="earthsignature-postgres-"))
    if as_user:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    data = folder / "data"

    def control(*arguments: str) -> None:
        command = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    initdb = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "dagster", "-A", "trust", "-E", "UTF8"]
    try:
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        control("-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
        finally:
            control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
