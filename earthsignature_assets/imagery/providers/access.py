"""Access to a provider's bands: plain URLs, signed URLs, or an S3 endpoint. Values only; nothing here makes a call."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from earthsignature_assets.errors import CredentialError


@dataclass(frozen=True)
class S3:
    """An S3 endpoint, always addressed by path.

    Attributes:
        endpoint: its root, such as `https://eodata.dataspace.copernicus.eu`.
        region: region that requests are signed for.
        key_variable: environment variable of the access key.
        secret_variable: environment variable of the secret key.
        requester_pays: whether the reader is billed and must agree to it.
    """

    endpoint: str
    key_variable: str
    secret_variable: str
    region: str = "default"
    requester_pays: bool = False

    def gdal_options(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the endpoint and its credentials as GDAL options.

        Raises:
            CredentialError: a credential is not in the environment.
        """
        for variable in (self.key_variable, self.secret_variable):
            if not environment.get(variable):
                raise CredentialError(f"{self.endpoint} needs a credential: set {variable} in the environment")
        parts = urlsplit(self.endpoint)
        return {
            "AWS_S3_ENDPOINT": parts.netloc,
            "AWS_HTTPS": "YES" if parts.scheme == "https" else "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": environment[self.key_variable],
            "AWS_SECRET_ACCESS_KEY": environment[self.secret_variable],
            "AWS_SESSION_TOKEN": "",  # otherwise the token of another account in the environment would go along
            **({"AWS_REQUEST_PAYER": "requester"} if self.requester_pays else {}),
        }


@dataclass(frozen=True)
class TokenService:
    """A service that issues tokens for signed URLs (Azure's shared access signatures).

    Attributes:
        url: root of the service; `/<account>/<container>` is appended.
        key_variable: environment variable of a subscription key that raises the rate limits; may be unset.
    """

    url: str
    key_variable: str = ""


@dataclass(frozen=True)
class Access:
    """The way to open bands.

    Attributes:
        connections: most connections that one process keeps open to the provider.
        s3: the endpoint of `s3://` URLs; None if there are none.
        tokens: the service that signs `https://` URLs; None if they are public.
        proxy: HTTP proxy for every request; none by default, whatever the environment says.
        ca_bundle: PEM file of the certificate authorities that servers are verified by; empty for the built-in ones.
    """

    connections: int = 8
    s3: S3 | None = None
    tokens: TokenService | None = None
    proxy: str = ""
    ca_bundle: str = ""

    @property
    def credential_variables(self) -> list[str]:
        """Environment variables of the credentials that reading a band needs."""
        names = [self.s3.key_variable, self.s3.secret_variable] if self.s3 else []
        return names + ([self.tokens.key_variable] if self.tokens and self.tokens.key_variable else [])
