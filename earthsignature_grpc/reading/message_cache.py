"""Ready messages of products that were asked for lately: whoever asks next gets them without a read or a copy."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

_LARGEST_PART = 8


class MessageCache:
    """Keeps the messages that were used last, up to a number of bytes; threads may share it.

    A product's folder never changes once it is published, so what was made of it stays right: entries are keyed by it
    and leave only to make room.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._messages: OrderedDict[Hashable, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """The message under a key, if it is still there."""
        with self._guard:
            message = self._messages.get(key)
            if message is not None:
                self._messages.move_to_end(key)
            return message

    def keep(self, key: Hashable, message: bytes) -> None:
        """Keep a message. One that would take the place of most others is not kept."""
        if len(message) > self._most_bytes // _LARGEST_PART:
            return
        with self._guard:
            self._bytes += len(message) - len(self._messages.pop(key, b""))
            self._messages[key] = message
            while self._bytes > self._most_bytes:
                _, oldest = self._messages.popitem(last=False)
                self._bytes -= len(oldest)
