"""Page tokens and cursors: opaque texts that clients send back, checked before use.

They hold no secret and grant nothing, because everything that they point to is public. The check finds damage and
mix-ups (a token of another list, a truncated cursor), which would otherwise silently answer a different question.
"""

import base64
import binascii
import datetime as dt
import hashlib
import struct

from earthsignature_assets.errors import QueryError
from earthsignature_assets.products.catalogue.query import Position

_CHECK_BYTES = 8
_PAGE, _CURSOR = b"page", b"cursor"
_PAGE_HEAD = struct.Struct(">8sq")
_CURSOR_CONTENT = struct.Struct(">q")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def fingerprint(*parts: bytes) -> bytes:
    """Hash the filter and order of a list to eight bytes, so that its tokens are not used for another list."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


def page_token(list_fingerprint: bytes, position: Position) -> str:
    """Make the token of the page after a product, in the list with this fingerprint."""
    microseconds = (position.sensed_at - _EPOCH) // _MICROSECOND
    return _sealed(_PAGE, _PAGE_HEAD.pack(list_fingerprint, microseconds) + position.product_id.encode())


def parse_page_token(token: str, list_fingerprint: bytes) -> Position:
    """Read the position of a token; its page begins strictly after it.

    Raises:
        QueryError: the token is damaged, or belongs to a list with another filter or order.
    """
    remedy = "send next_page_token unchanged, with the same filter and order_by, or leave page_token empty"
    content = _opened(_PAGE, token, "page_token", remedy)
    try:
        of, microseconds = _PAGE_HEAD.unpack_from(content)
        position = Position(_EPOCH + microseconds * _MICROSECOND, content[_PAGE_HEAD.size :].decode())
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise QueryError("page_token", f"is damaged; {remedy}") from error
    if of != list_fingerprint:
        raise QueryError("page_token", f"belongs to a list with another filter or order; {remedy}")
    return position


def cursor(change: int) -> str:
    """Make the cursor that follows a change of the catalogue."""
    return _sealed(_CURSOR, _CURSOR_CONTENT.pack(change))


def parse_cursor(text: str) -> int:
    """Read the number of the change that a cursor follows.

    Raises:
        QueryError: the cursor is damaged.
    """
    remedy = "send the cursor of a WatchProductsResponse unchanged, or leave it empty"
    try:
        return int(_CURSOR_CONTENT.unpack(_opened(_CURSOR, text, "cursor", remedy))[0])
    except struct.error as error:
        raise QueryError("cursor", f"is damaged; {remedy}") from error


def _sealed(kind: bytes, content: bytes) -> str:
    return base64.urlsafe_b64encode(_check(kind, content) + content).decode().rstrip("=")


def _opened(kind: bytes, text: str, field: str, remedy: str) -> bytes:
    try:
        sealed = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise QueryError(field, f"is damaged; {remedy}") from error
    content = sealed[_CHECK_BYTES:]
    if sealed[:_CHECK_BYTES] != _check(kind, content):
        raise QueryError(field, f"is damaged; {remedy}")
    return content


def _check(kind: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECK_BYTES, person=kind).digest()
