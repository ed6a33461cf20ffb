"""Authorisation of calls by the token in their metadata."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earthsignature_assets.errors import CredentialError, RoleError
from earthsignature_grpc.access.token_file import Role, Token, TokenFile
from earthsignature_grpc.calls.admission import client_of

_SCHEME = "bearer"


@dataclass(frozen=True)
class Authorisation:
    """The rule for who may write.

    Attributes:
        tokens: the token file; None if the server accepts no tokens, so nobody may write.
        plaintext_tokens: whether tokens from other machines are accepted without TLS.
    """

    tokens: TokenFile | None = None
    plaintext_tokens: bool = False

    def name_of(self, metadata: Mapping[str, str]) -> str | None:
        """Return the name under which calls with this valid token are counted; None without one."""
        token = self._token(metadata.get("authorization", ""))
        return None if token is None else f"token:{token.name}"

    def writer(self, context: Any) -> str:
        """Return the name of the call's writer.

        Raises:
            CredentialError: the token is missing, invalid, or came over an unprotected connection.
            RoleError: the token does not allow writing.
        """
        if self.tokens is None:
            raise CredentialError("writing needs a credential, but this server accepts none; ask its operator")
        header = _authorization(context)
        if not header:
            raise CredentialError("writing needs a credential: send a bearer token as `authorization` metadata")
        if not (self.plaintext_tokens or _is_protected(context)):
            raise CredentialError(
                "the credential came over a connection without TLS, where others can read it: revoke it, create a new "
                "one, and call over TLS"
            )
        token = self._token(header)
        if token is None:
            raise CredentialError("the credential is not accepted: unknown, revoked or expired; ask for a new one")
        if token.role is not Role.WRITER:
            raise RoleError(f"the credential {token.name!r} has the role {token.role}; writing needs {Role.WRITER}")
        return token.name

    def _token(self, header: str) -> Token | None:
        scheme, _, secret = header.partition(" ")
        if self.tokens is None or scheme.lower() != _SCHEME or not secret:
            return None
        return self.tokens.find(secret.strip())


def _authorization(context: Any) -> str:
    values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if len(values) > 1:
        raise CredentialError("the call carries more than one credential: send one")
    return values[0] if values and type(values[0]) is str else ""


def _is_protected(context: Any) -> bool:
    """Tell whether the connection is encrypted or stays on this machine."""
    if context.auth_context().get("transport_security_type") == [b"ssl"]:
        return True
    kind, _, host = client_of(context.peer()).partition(":")
    if kind == "unix":
        return True
    try:
        return ipaddress.ip_network(host, strict=False).is_loopback
    except ValueError:
        return False
