"""How connections are protected: TLS, with certificates that may be renewed while the server runs."""

import logging
import ssl
import threading
from pathlib import Path

import grpc

from earthsignature_assets.errors import CertificateError
from earthsignature_grpc.access.security import Certificates

log = logging.getLogger("earthsignature_grpc")


class RenewingCredentials:
    """Server credentials that follow their files: new connections get what the files hold when they are opened."""

    def __init__(self, certificates: Certificates) -> None:
        """Read the files.

        Raises:
            CertificateError: a file is missing, no PEM, or the key is another certificate's.
        """
        self._certificates = certificates
        self._guard = threading.Lock()
        self._state = self._stamps()
        self.credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._renewed,  # type: ignore[arg-type]  # None is allowed, and means that nothing has changed
            certificates.client_authorities is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks at each new connection: the new configuration, or None if nothing has changed."""
        with self._guard:
            try:
                stamps = self._stamps()
                if stamps == self._state:
                    return None
                configuration = self._configuration()
            except CertificateError as error:
                # Half of a renewal may be in place: the old pair serves on until the files fit.
                log.warning("the certificates are not renewed: %s", error)
                return None
            self._state = stamps
            log.info("the certificates are renewed from %s", self._certificates.chain)
            return configuration

    def _paths(self) -> list[Path]:
        files = self._certificates
        return [files.chain, files.key, *([files.client_authorities] if files.client_authorities else [])]

    def _stamps(self) -> list[tuple[int, int]]:
        try:
            return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._paths())]
        except OSError as error:
            raise CertificateError(f"a file of TLS cannot be read: {error}") from error

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        files = self._certificates
        try:
            # What gRPC does not say: whether the files are PEM and fit together.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.chain, files.key, password=lambda: b"")
            roots = None
            if files.client_authorities is not None:
                context.load_verify_locations(files.client_authorities)
                roots = files.client_authorities.read_bytes()
            pair = (files.key.read_bytes(), files.chain.read_bytes())
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise CertificateError(
                f"certificate {files.chain} and key {files.key} cannot be used: {error}; give PEM files that fit "
                "together, the key not encrypted"
            ) from error
        return grpc.ssl_server_certificate_configuration([pair], roots)
