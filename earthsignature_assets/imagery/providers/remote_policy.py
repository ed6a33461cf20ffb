"""The retry policy of every imagery request: STAC searches, tokens and bands.

    connect           10 s, then the attempt fails
    response          60 s between two bytes, then the attempt fails
    attempts          5, POST searches included
    retried           429, 500, 502, 503, 504; connections refused, reset or cut; truncated JSON; a band that cannot be
                      decoded, because its response may have been truncated
    pause             0.5 s, doubled each time; or `Retry-After` (searches and tokens), at most 60 s
    paging            a known item counts once; a page read before, or five in a row without new items, ends it
    afterwards        `ProviderUnavailableError`, which the step retries later; every other refusal is final

GDAL opens the bands and ignores `Retry-After`: its pauses are the doubled ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from earthsignature_assets.imagery.providers.access import Access

BUSY = (429, 500, 502, 503, 504)
"""HTTP statuses that are worth a retry."""


class _Adapter(HTTPAdapter):
    """Connections that retry, and verify servers by a bundle of our own setting."""

    def __init__(self, retry: Retry, ca_bundle: str) -> None:
        self._ca_bundle = ca_bundle
        super().__init__(max_retries=retry)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        super().cert_verify(  # type: ignore[no-untyped-call]
            conn, url, self._ca_bundle or verify, cert
        )


@dataclass(frozen=True)
class RemotePolicy:
    """Timeouts and retries of one call.

    Attributes:
        connect_timeout_s: longest wait for a connection.
        answer_timeout_s: longest wait for the next bytes.
        tries: attempts before the call fails.
        first_pause_s: pause before the second attempt; doubled before each further one.
        longest_pause_s: longest `Retry-After` that is respected.
        max_items: most items of a search; more mean that its paging does not end.
    """

    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    tries: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: int = 60
    max_items: int = 50_000

    @property
    def timeout_s(self) -> tuple[float, float]:
        """Timeouts for connecting and reading, as `requests` takes them."""
        return self.connect_timeout_s, self.answer_timeout_s

    def pauses_s(self) -> Iterator[float]:
        """Yield the pauses between the attempts, in seconds."""
        return (self.first_pause_s * 2.0**number for number in range(self.tries - 1))

    def retry(self) -> Retry:
        """Return the policy for urllib3."""
        return Retry(
            total=self.tries - 1,
            backoff_factor=self.first_pause_s,
            status_forcelist=BUSY,
            allowed_methods=None,  # searches are POST requests without side effects
            respect_retry_after_header=True,
            retry_after_max=self.longest_pause_s,
        )

    def session(self, access: Access) -> requests.Session:
        """Open an HTTP session that follows the policy and nothing else; pass the timeouts with each call.

        Proxies, credentials and certificates that the environment or `.netrc` name are not used.
        """
        session = requests.Session()
        session.trust_env = False
        if access.proxy:
            session.proxies = {"http": access.proxy, "https": access.proxy}
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(self.retry(), access.ca_bundle))
        return session

    def gdal_options(self, access: Access) -> dict[str, str]:
        """Return the policy as GDAL options, with those that keep other programs' variables and files out."""
        return {
            "GDAL_HTTP_PROXY": access.proxy,  # empty: curl then ignores http_proxy and its like
            "GDAL_HTTPS_PROXY": access.proxy,
            "GDAL_HTTP_NETRC": "NO",
            "AWS_NO_SIGN_REQUEST": "NO",
            "CPL_VSIL_CURL_USE_HEAD": "NO",  # some servers refuse HEAD; the first range tells the size too
            **({"CURL_CA_BUNDLE": access.ca_bundle} if access.ca_bundle else {}),
            "GDAL_HTTP_CONNECTTIMEOUT": f"{self.connect_timeout_s:g}",
            "GDAL_HTTP_TIMEOUT": f"{self.answer_timeout_s:g}",
            "GDAL_HTTP_MAX_RETRY": str(self.tries - 1),
            "GDAL_HTTP_RETRY_DELAY": f"{self.first_pause_s:g}",
            "GDAL_HTTP_RETRY_CODES": ",".join(map(str, BUSY)),
        }


POLICY = RemotePolicy()

_PASSING = re.compile(
    r"(error|response) code ?: (429|5\d\d)|CURL error|timed out|Connection refused|Could not resolve|reset by peer"
    r"|SlowDown|ServiceUnavailable|InternalError"
)
_FORBIDDEN = re.compile(
    r"(error|response) code ?: 40[13]|Access ?Denied|AuthenticationFailed|Expired ?Token|Invalid ?Token|access key"
    r"|token .*expired|request signature|SignatureDoesNotMatch",
    re.IGNORECASE,
)
_ANSWERED = re.compile(r"(error|response) code ?: \d{3}|NoSuchKey|NoSuchBucket|does not exist")


def can_pass(message: str) -> bool:
    """Tell whether GDAL's message about a remote file is worth a retry."""
    return bool(_PASSING.search(message))


def is_forbidden(message: str) -> bool:
    """Tell whether GDAL's message about a remote file means a refused or expired credential."""
    return bool(_FORBIDDEN.search(message))


def may_be_cut(message: str) -> bool:
    """Tell whether GDAL's message about a remote file means truncated data: no response of its server explains it."""
    return not any(known.search(message) for known in (_PASSING, _FORBIDDEN, _ANSWERED))
