"""A minimal client: one HTTP/2 connection, whose messages are counted and discarded.

grpc's client needs twice the processor time of a server to receive a stream, which hides the differences between
servers. This one reads into one buffer and parses only frame headers, so that the server limits the rate.
"""

import socket
import struct
from collections.abc import Iterator

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW = (1 << 31) - 1
_BUFFER_BYTES = 1 << 20


class StreamReader:
    """A connection that calls one streaming method with an empty request, any number of times."""

    def __init__(self, host: str, port: int, method: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        # As in every gRPC client: otherwise the next request waits 40 ms for the acknowledgement of the window update.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._stream = -1
        fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": f"{host}:{port}"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        # Literal fields without indexing: the simplest of HPACK.
        self._headers = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields.items()
        )
        settings = struct.pack(">HIHI", 4, _WINDOW, 5, (1 << 24) - 1)  # window of a stream, largest frame
        grow = struct.pack(">I", _WINDOW - 65_535)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, grow))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, at_once: int = _BUFFER_BYTES) -> Iterator[int]:
        """Call the method once, and yield the number of bytes of each read, at most `at_once`.

        Raises:
            ConnectionError: the stream was interrupted.
        """
        self._stream += 2
        self._socket.sendall(
            _frame(_HEADERS, _END_HEADERS, self._stream, self._headers)
            + _frame(_DATA, _END_STREAM, self._stream, bytes(5))
        )
        view = memoryview(self._buffer)[:at_once]
        head, skip, taken, done = b"", 0, 0, False
        while not done:
            size = self._socket.recv_into(view)
            if not size:
                raise ConnectionError("the server closed the connection within a stream")
            at = 0
            while at < size:
                if skip:
                    step = min(skip, size - at)
                else:
                    step = min(9 - len(head), size - at)
                    head += view[at : at + step]
                    if len(head) == 9:
                        skip, kind, flags = int.from_bytes(head[:3]) + step, head[3], head[4]
                        head = b""
                        taken += skip - step if kind == _DATA else 0
                        done = self._understood(kind, flags)
                at, skip = at + step, max(0, skip - step)
            yield size
        # Update windows after whole streams only.
        self._socket.sendall(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", taken)))

    def _understood(self, kind: int, flags: int) -> bool:
        """Answer a frame by its header, and tell whether it ends the stream."""
        if kind in (_RESET, _GOAWAY):
            raise ConnectionError(f"the server ended the stream with frame {kind}")
        if flags & _ACK == 0 and kind == _SETTINGS:
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        return kind == _HEADERS and bool(flags & _END_STREAM)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
