"""Bearer tokens that allow writing. A file holds their hashes; the secret is shown once, when a token is created.

A token is 256 random bits, so its SHA-256 is as hard to invert as the token is to guess: no salt, no stretching.
"""

import datetime as dt
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from earthsignature_assets.errors import TokenError
from earthsignature_assets.system.locks import locked

log = logging.getLogger("earthsignature_grpc")

_PREFIX = "es_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")


class Role(StrEnum):
    """The permission of a token."""

    READER = "reader"
    WRITER = "writer"


@dataclass(frozen=True)
class Token:
    """An entry of the token file.

    Attributes:
        name: the holder; unique in the file.
        role: its permission.
        sha256: the hash of the secret, hexadecimal.
        created: time of creation, UTC.
        expires: end of validity, UTC.
    """

    name: str
    role: Role
    sha256: str
    created: dt.datetime
    expires: dt.datetime

    def valid_at(self, moment: dt.datetime) -> bool:
        """Tell whether the token has not expired at a moment."""
        return moment < self.expires


class TokenFile:
    """The tokens of a server. Every change is one rename, and a server sees it at the next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._read_at: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Read all tokens, expired ones included, by name; an absent file has none.

        Raises:
            TokenError: the file cannot be read or is not a token file.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            found = [_token(entry) for entry in content["tokens"]]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenError(f"token file {self.path} cannot be read: {error!r}; restore it or remove it") from error
        return tuple(sorted(found, key=lambda token: token.name))

    def find(self, secret: str) -> Token | None:
        """Find the valid token with this secret; None if there is none.

        A file that cannot be read counts as empty: the fault is logged, and every writer is refused.
        """
        digest = hashlib.sha256(secret.encode()).hexdigest()
        now = dt.datetime.now(dt.UTC)
        found = None
        for token in self._current():  # compare with all, so that the time taken reveals nothing
            if hmac.compare_digest(token.sha256, digest) and token.valid_at(now):
                found = token
        return found

    def add(self, name: str, role: Role, lifetime: dt.timedelta) -> str:
        """Create a token and return its secret, which is stored nowhere.

        Raises:
            TokenError: the name is taken or not valid, or the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise TokenError(f"{name!r} is not a token name: use letters, digits and . _ @ -, at most 64 characters")
        secret = _PREFIX + secrets.token_urlsafe(32)
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        try:
            expires = now + lifetime
        except OverflowError as error:
            raise TokenError(f"a lifetime of {lifetime} ends after the year 9999; give fewer days") from error
        token = Token(name, role, hashlib.sha256(secret.encode()).hexdigest(), now, expires)
        with self._changing() as tokens:
            if any(other.name == name for other in tokens):
                raise TokenError(f"token {name!r} exists already: revoke it, or give the new one another name")
            tokens.append(token)
        return secret

    def revoke(self, name: str) -> None:
        """Remove a token; servers refuse it from the next call on.

        Raises:
            TokenError: no token has this name, or the file cannot be read or written.
        """
        with self._changing() as tokens:
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                raise TokenError(f"{self.path} has no token {name!r}; `earthsignature tokens list` shows the names")
            tokens[:] = kept

    def _current(self) -> tuple[Token, ...]:
        with self._guard:
            try:
                status = self.path.stat()
                read_at: tuple[int, ...] = (status.st_mtime_ns, status.st_ino, status.st_size)
            except OSError:
                read_at = ()
            if read_at != self._read_at:
                try:
                    self._tokens = self.tokens()
                except TokenError as error:
                    log.error("nobody may write: %s", error)
                    self._tokens = ()
                self._read_at = read_at
            return self._tokens

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_suffix(".lock")):
                tokens = list(self.tokens())
                yield tokens
                content = {"tokens": [_entry(token) for token in tokens]}
                # Not `atomic.write_whole`: nobody else may ever read the file, and it must survive a power cut.
                draft = self.path.with_suffix(".new")
                draft.unlink(missing_ok=True)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(content, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self.path)
        except OSError as error:
            raise TokenError(f"token file {self.path} cannot be written: {error}") from error


def _token(entry: dict[str, str]) -> Token:
    token = Token(
        name=entry["name"],
        role=Role(entry["role"]),
        sha256=entry["sha256"],
        created=dt.datetime.fromisoformat(entry["created"]),
        expires=dt.datetime.fromisoformat(entry["expires"]),
    )
    if not _HASH.fullmatch(token.sha256) or token.expires.tzinfo is None:
        raise ValueError(f"token {token.name!r} has no SHA-256, or its end has no time zone")
    return replace(token, created=token.created.astimezone(dt.UTC), expires=token.expires.astimezone(dt.UTC))


def _entry(token: Token) -> dict[str, str]:
    return asdict(token) | {"created": token.created.isoformat(), "expires": token.expires.isoformat()}
