"""The channel to a service: address, encryption, token."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc

from earthsignature_assets.errors import CredentialError

Metadata: TypeAlias = tuple[tuple[str, str], ...]

CHANNEL_OPTIONS = (
    # The documented limit is 1 GiB: dense products are tens of megabytes.
    ("grpc.max_receive_message_length", 1 << 30),
    # A vanished service is noticed within 80 s, also by a stream that waits for news.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),  # by default pings stop after two without data
)
_THIS_MACHINE = re.compile(r"(?:(?:dns|ipv4|ipv6):(?:///)?)?(?:localhost|127(?:\.\d+){3}|\[::1\]|::1)(?::\d+)?|unix:.*")


@dataclass(frozen=True)
class Tls:
    """Encryption of a channel.

    Attributes:
        authorities: PEM file of the authorities that sign the service's certificate; by default those of gRPC.
        certificate: PEM file of the client's certificate, for services that require one (mTLS).
        key: PEM file of the key of `certificate`.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise CredentialError("certificate and key go together: give both files, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            CredentialError: a file cannot be read.
        """
        authorities, key, certificate = (
            None if path is None else _read(path) for path in (self.authorities, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(authorities, key, certificate)


@dataclass(frozen=True)
class Connection:
    """Address, encryption and token of a service.

    Attributes:
        target: `host:port`.
        tls: encryption; None for plaintext.
        token: a bearer token, sent with every call.

    Raises:
        CredentialError: the token would go to another machine in plaintext.
    """

    target: str
    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and self.tls is None and not _THIS_MACHINE.fullmatch(self.target):
            raise CredentialError(
                f"{self.target} is another machine, and others could read a token sent there without TLS: "
                "give tls=Tls()"
            )

    @property
    def metadata(self) -> Metadata:
        """Metadata of each call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def open(self) -> grpc.Channel:
        """Open a channel for threads."""
        if self.tls is None:
            return grpc.insecure_channel(self.target, options=CHANNEL_OPTIONS)
        return grpc.secure_channel(self.target, self.tls.credentials(), options=CHANNEL_OPTIONS)

    def open_async(self) -> grpc.aio.Channel:
        """Open a channel for the running event loop."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, options=CHANNEL_OPTIONS)
        return grpc.aio.secure_channel(self.target, self.tls.credentials(), options=CHANNEL_OPTIONS)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror or error}; give a PEM file") from error
