"""How a provider's bands are reached: plain addresses, signed ones, or an S3 endpoint. Values only; no call is made."""

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
        region: the region that requests are signed for.
        key_variable: environment variable of the access key.
        secret_variable: environment variable of the secret key.
        requester_pays: whether reading is billed to the reader, who must agree to it.
    """

    endpoint: str
    key_variable: str
    secret_variable: str
    region: str = "default"
    requester_pays: bool = False

    def gdal_options(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The endpoint and its credentials as GDAL takes them.

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
            "AWS_SESSION_TOKEN": "",  # one of another account, found in the environment, would go with these
            **({"AWS_REQUEST_PAYER": "requester"} if self.requester_pays else {}),
        }


@dataclass(frozen=True)
class TokenService:
    """Where signed addresses get their tokens (Azure's shared access signatures).

    Attributes:
        url: root of the service; `/<account>/<container>` is appended.
        key_variable: environment variable of a subscription key that raises the limits; may be unset.
    """

    url: str
    key_variable: str = ""


@dataclass(frozen=True)
class Access:
    """How bands are opened.

    Attributes:
        connections: most connections that one process holds open to the provider at a time.
        s3: the endpoint of `s3://` addresses; None where there are none.
        tokens: what signs `https://` addresses; None where they are open to all.
    """

    connections: int = 8
    s3: S3 | None = None
    tokens: TokenService | None = None
