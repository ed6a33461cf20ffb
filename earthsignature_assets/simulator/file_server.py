"""A file server for a separate process: `python file_server.py FOLDER DESCRIPTOR` (a bound socket to inherit).

It needs its own process because rasterio holds the interpreter lock while it opens a URL: a server in a thread of
the same interpreter could not respond.
"""

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles


def main() -> None:
    """Serve until terminated; `StaticFiles` supports byte ranges."""
    folder, descriptor = sys.argv[1], int(sys.argv[2])
    application = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
