"""`python -m earthsignature_grpc --store DIR --listen 127.0.0.1:50051`: the service in a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_grpc.server import DEFAULT_LISTEN, serve


def main() -> int:
    """Read the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m earthsignature_grpc", description="Serve a product store.")
    parser.add_argument("--store", type=Path, required=True, help="folder of the product store")
    parser.add_argument("--listen", default=DEFAULT_LISTEN, help="host:port, port 0 for any (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve(arguments.store, arguments.listen, announce=_announce))
    except EarthSignatureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _announce(line: str) -> None:
    # On standard output and at once: whoever starts the server with port 0 reads the port here.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
