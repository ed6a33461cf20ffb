"""TLS with certificates that can be renewed while the server runs."""

import logging
import ssl
import threading
from pathlib import Path

import grpc

from earthsignature_assets.errors import CertificateError
from earthsignature_grpc.access.security import Certificates

log = logging.getLogger("earthsignature_grpc")


class RenewingCredentials:
    """Server credentials that follow their files: each new connection uses the current certificates."""

    def __init__(self, certificates: Certificates) -> None:
        """Read the files.

        Raises:
            CertificateError: a file is missing or not PEM, or the key does not fit the certificate.
        """
        self._certificates = certificates
        self._guard = threading.Lock()
        self._state = self._stamps()
        self.credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._renewed,  # type: ignore[arg-type]  # None is allowed and means no change
            certificates.client_authorities is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, or None if nothing has changed; gRPC calls this for each new connection."""
        with self._guard:
            try:
                stamps = self._stamps()
                if stamps == self._state:
                    return None
                configuration = self._configuration()
            except CertificateError as error:
                # A renewal may be half done: keep the old pair until the files fit together.
                log.warning("the certificates were not renewed: %s", error)
                return None
            self._state = stamps
            log.info("the certificates were renewed from %s", self._certificates.chain)
            return configuration

    def _paths(self) -> list[Path]:
        files = self._certificates
        return [files.chain, files.key, *([files.client_authorities] if files.client_authorities else [])]

    def _stamps(self) -> list[tuple[int, int]]:
        try:
            return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._paths())]
        except OSError as error:
            raise CertificateError(f"a TLS file cannot be read: {error}; give readable PEM files") from error

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        files = self._certificates
        try:
            # gRPC does not check that the files are PEM and fit together.
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
