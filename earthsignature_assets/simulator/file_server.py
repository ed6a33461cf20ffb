"""A file server in a process of its own: `python file_server.py FOLDER DESCRIPTOR` (a bound socket to inherit).

Its own process, because rasterio holds the interpreter lock while it opens a URL: a server in a thread of the
same interpreter would never get to answer.
"""

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles


def main() -> None:
    """Serve until terminated; `StaticFiles` answers byte ranges."""
    folder, descriptor = sys.argv[1], int(sys.argv[2])
    application = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
