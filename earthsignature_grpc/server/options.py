"""The options of a server on a command line, the same for every command that starts one."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from earthsignature_grpc.access.security import Certificates, Security
from earthsignature_grpc.calls.limits import Limits

DEFAULT_LISTEN = "127.0.0.1:50051"

_file = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--listen", default=DEFAULT_LISTEN, show_default=True, help="host:port; port 0 for a free one."),
    click.option("--tls-certificate", type=_file, envvar="EARTHSIGNATURE_TLS_CERTIFICATE", show_envvar=True,
                 help="Certificate chain, PEM; renewed files are taken up without a restart."),
    click.option("--tls-key", type=_file, envvar="EARTHSIGNATURE_TLS_KEY", show_envvar=True,
                 help="Private key of the certificate, PEM."),
    click.option("--tls-client-ca", type=_file, envvar="EARTHSIGNATURE_TLS_CLIENT_CA", show_envvar=True,
                 help="Authorities of client certificates, PEM: every client must then show one (mutual TLS)."),
    click.option("--tokens", type=_file, envvar="EARTHSIGNATURE_TOKENS", show_envvar=True,
                 help="File of the tokens that allow writing (`earthsignature tokens`)."),
    click.option("--plaintext-tokens", is_flag=True,
                 help="Take tokens from other machines without TLS, for a server behind a proxy that speaks it."),
    click.option("--calls", type=click.IntRange(1), default=Limits.calls, show_default=True, help="Calls at once."),
    click.option("--calls-of-client", type=click.IntRange(0), default=Limits.calls_of_client, show_default=True,
                 help="Calls at once of one client; 0 for no limit."),
    click.option("--calls-per-second", type=click.FloatRange(0), default=Limits.calls_per_s, show_default=True,
                 help="Calls that one client may start a second, over time; 0 for no limit."),
    click.option("--max-request-mib", type=click.IntRange(1, 1024), default=Limits.request_bytes >> 20,
                 show_default=True, help="Largest request of a method that reads, in MiB."),
    click.option("--max-product-mib", type=click.IntRange(1, 1024), default=Limits.product_bytes >> 20,
                 show_default=True, help="Largest request of CreateProduct, in MiB."),
    click.option("--cache-mib", type=click.IntRange(0), default=Limits.cache_bytes >> 20, show_default=True,
                 help="Memory for messages that were sent lately, in MiB."),
    click.option("--public-url", default="", envvar="EARTHSIGNATURE_PUBLIC_URL", show_envvar=True,
                 help="HTTP address of the store's files; answers then link the STAC item and the picture."),
)  # fmt: skip


def serving_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a click command the options of a server; it gets them as `listen`, `limits`, `security` and `public_url`."""

    @wraps(command)
    def run(
        *arguments: Any,
        listen: str,
        tls_certificate: Path | None,
        tls_key: Path | None,
        tls_client_ca: Path | None,
        tokens: Path | None,
        plaintext_tokens: bool,
        calls: int,
        calls_of_client: int,
        calls_per_second: float,
        max_request_mib: int,
        max_product_mib: int,
        cache_mib: int,
        **options: Any,
    ) -> None:
        if (tls_certificate is None) != (tls_key is None):
            raise click.UsageError("--tls-certificate and --tls-key go together")
        if tls_client_ca is not None and tls_certificate is None:
            raise click.UsageError("--tls-client-ca needs --tls-certificate and --tls-key")
        certificates = None
        if tls_certificate is not None and tls_key is not None:
            certificates = Certificates(tls_certificate, tls_key, tls_client_ca)
        security = Security(certificates, tokens, plaintext_tokens)
        limits = Limits(
            request_bytes=max_request_mib << 20,
            product_bytes=max_product_mib << 20,
            calls=calls,
            calls_of_client=calls_of_client,
            calls_per_s=calls_per_second,
            cache_bytes=cache_mib << 20,
        )
        command(*arguments, listen=listen, limits=limits, security=security, **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
