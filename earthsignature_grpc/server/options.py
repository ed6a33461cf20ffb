"""The settings of a server, turned into its limits and its security."""

from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.access.security import Certificates, Security
from earthsignature_grpc.calls.limits import Limits

SERVER_SETTINGS = (
    "listen",
    "tls_certificate",
    "tls_key",
    "tls_client_ca",
    "tokens",
    "plaintext_tokens",
    "calls",
    "calls_of_client",
    "calls_per_second",
    "max_request_mib",
    "max_product_mib",
    "cache_mib",
    "public_url",
)
"""Settings that every command that starts a server takes as options."""


def limits_of(settings: Settings) -> Limits:
    """Return the limits of a server with these settings."""
    return Limits(
        request_bytes=settings.max_request_mib << 20,
        product_bytes=settings.max_product_mib << 20,
        calls=settings.calls,
        calls_of_client=settings.calls_of_client,
        calls_per_s=settings.calls_per_second,
        cache_bytes=settings.cache_mib << 20,
    )


def security_of(settings: Settings) -> Security:
    """Return the security of a server with these settings.

    Raises:
        ConfigurationError: one of certificate and key is missing, or client authorities are given without them.
    """
    certificate, key, authorities = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if (certificate is None) != (key is None):
        raise ConfigurationError("--tls-certificate and --tls-key go together: give both, or neither")
    if certificate is None or key is None:
        if authorities is not None:
            raise ConfigurationError("--tls-client-ca needs --tls-certificate and --tls-key: give both")
        return Security(None, settings.tokens, settings.plaintext_tokens)
    return Security(Certificates(certificate, key, authorities), settings.tokens, settings.plaintext_tokens)
