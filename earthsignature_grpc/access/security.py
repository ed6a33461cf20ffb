"""Settings of TLS and of tokens."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """The files of TLS, in PEM.

    Attributes:
        chain: the server's certificate, followed by the intermediate certificates.
        key: its private key, not encrypted.
        client_authorities: certificates of the authorities that sign client certificates. If set, every client must
            present a certificate (mutual TLS).
    """

    chain: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True)
class Security:
    """The protection of a server: TLS and tokens.

    Attributes:
        certificates: the files of TLS; None for connections without it.
        tokens: file of the tokens that allow writing; None if nobody may write.
        plaintext_tokens: whether tokens from other machines are accepted without TLS.
    """

    certificates: Certificates | None = None
    tokens: Path | None = None
    plaintext_tokens: bool = False
