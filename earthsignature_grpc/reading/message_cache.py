"""A cache of recently sent messages: a repeated request needs no read and no copy."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

_LARGEST_PART = 8


class MessageCache:
    """The most recently used messages, up to a number of bytes; safe in threads.

    A product's folder never changes after publication, so a message made from it stays valid: keys name the folder,
    and entries leave only to make room.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._messages: OrderedDict[Hashable, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """Return the message under a key, or None if it is gone."""
        with self._guard:
            message = self._messages.get(key)
            if message is not None:
                self._messages.move_to_end(key)
            return message

    def keep(self, key: Hashable, message: bytes) -> None:
        """Keep a message, unless it would displace too many others."""
        if len(message) > self._most_bytes // _LARGEST_PART:
            return
        with self._guard:
            self._bytes += len(message) - len(self._messages.pop(key, b""))
            self._messages[key] = message
            while self._bytes > self._most_bytes:
                _, oldest = self._messages.popitem(last=False)
                self._bytes -= len(oldest)
