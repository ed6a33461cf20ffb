"""A file server with faults: `stumbling_server.py FOLDER HOW TIMES` serves the head of a file, then responds TIMES
times with an error status, a reset, or half of the announced content. It prints its port.
"""

import http.server
import re
import socket
import struct
import sys
from pathlib import Path

FOLDER, HOW, TIMES = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Handler(http.server.BaseHTTPRequestHandler):
    stumbled = 0

    def do_GET(self) -> None:
        path = FOLDER / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)) if wanted else (0, -1)
        body = content[first : last + 1] if wanted else content
        stumbles = (first > 0 or Handler.stumbled > 0) and Handler.stumbled < TIMES
        Handler.stumbled += stumbles
        if stumbles and HOW == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if stumbles and HOW.isdigit():
            self.send_error(int(HOW))
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if stumbles else body)

    do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
