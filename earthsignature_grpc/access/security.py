"""Whom a server answers, and how connections are protected."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """The files of TLS, PEM.

    Attributes:
        chain: the server's certificate, then those that lead from it to an authority.
        key: its private key, not encrypted.
        client_authorities: certificates of who may vouch for clients. With it, every client must show a certificate
            (mutual TLS).
    """

    chain: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True)
class Security:
    """Whom a server answers, and how connections are protected.

    Attributes:
        certificates: the files of TLS; None for connections without it.
        tokens: file of the tokens that allow writing; None if nobody may write.
        plaintext_tokens: take tokens from other machines without TLS too.
    """

    certificates: Certificates | None = None
    tokens: Path | None = None
    plaintext_tokens: bool = False
