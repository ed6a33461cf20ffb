"""A proxy that delays each request and logs the numbers of pending requests and open connections:
`counting_proxy.py HOST:PORT LOG PAUSE_S`. It prints its port; each line of the log is a JSON pair of the two numbers.
"""

import http.client
import http.server
import json
import sys
import threading
import time
from pathlib import Path

BEHIND, LOG, PAUSE_S = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
HOP_BY_HOP = ("connection", "content-length", "transfer-encoding")


class Count:
    def __init__(self) -> None:
        self.lock, self.under_way, self.connections = threading.Lock(), 0, 0

    def note(self, under_way: int = 0, connections: int = 0) -> None:
        with self.lock, LOG.open("a") as log:
            self.under_way += under_way
            self.connections += connections
            log.write(json.dumps([self.under_way, self.connections]) + "\n")


COUNT = Count()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        COUNT.note(connections=1)
        super().handle()
        COUNT.note(connections=-1)

    def do_GET(self) -> None:
        COUNT.note(under_way=1)
        time.sleep(PAUSE_S)
        behind = http.client.HTTPConnection(BEHIND)
        behind.request(self.command, self.path, headers=dict(self.headers))
        answer = behind.getresponse()
        body = answer.read()
        COUNT.note(under_way=-1)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length", str(len(body))))
        self.end_headers()
        self.wfile.write(body)
        behind.close()

    do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
