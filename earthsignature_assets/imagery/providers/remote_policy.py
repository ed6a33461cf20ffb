"""How every remote of the imagery is called: one policy for STAC searches, tokens and bands.

    connect           10 s, then the try has failed
    answer            60 s between two bytes, then the try has failed
    tries             5, POST searches included
    tried again       429, 500, 502, 503, 504; connections refused, reset or cut; JSON that ends too early; a band that
                      cannot be decoded, for its answer may have been cut
    pause             0.5 s, doubled each time; what `Retry-After` asks for (searches and tokens), at most 60 s
    paging            a known item counts once; a page that was read before, or five in a row without news, end it
    then              `ProviderUnavailableError`, which the step tries again later; every other refusal is terminal

GDAL opens the bands and knows no `Retry-After`: its pauses are the doubled ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

BUSY = (429, 500, 502, 503, 504)
"""HTTP statuses that can pass."""


@dataclass(frozen=True)
class RemotePolicy:
    """Timeouts and tries of one call.

    Attributes:
        connect_timeout_s: longest wait for a connection.
        answer_timeout_s: longest wait for the next bytes.
        tries: how often a call is made before it has failed.
        first_pause_s: pause before the second try; doubled before each other.
        longest_pause_s: most that a `Retry-After` is followed.
        max_items: a search with more items than this does not end.
    """

    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    tries: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: int = 60
    max_items: int = 50_000

    @property
    def timeout_s(self) -> tuple[float, float]:
        """Both timeouts, as `requests` takes them."""
        return self.connect_timeout_s, self.answer_timeout_s

    def pauses_s(self) -> Iterator[float]:
        """The pauses between the tries: as many as there are tries after the first."""
        return (self.first_pause_s * 2.0**number for number in range(self.tries - 1))

    def retry(self) -> Retry:
        """The policy as urllib3 takes it."""
        return Retry(
            total=self.tries - 1,
            backoff_factor=self.first_pause_s,
            status_forcelist=BUSY,
            allowed_methods=None,  # searches are POST and change nothing
            respect_retry_after_header=True,
            retry_after_max=self.longest_pause_s,
        )

    def session(self) -> requests.Session:
        """An HTTP session that follows the policy; timeouts are given with each call."""
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=self.retry()))
        return session

    def gdal_options(self) -> dict[str, str]:
        """The policy as GDAL takes it."""
        return {
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
_FORBIDDEN = re.compile(r"(error|response) code ?: 40[13]|AccessDenied|AuthenticationFailed|ExpiredToken")
_ANSWERED = re.compile(r"(error|response) code ?: \d{3}|NoSuchKey|NoSuchBucket|does not exist")


def can_pass(message: str) -> bool:
    """Whether what GDAL says of a remote file is worth another try."""
    return bool(_PASSING.search(message))


def is_forbidden(message: str) -> bool:
    """Whether what GDAL says of a remote file is a refused or expired credential."""
    return bool(_FORBIDDEN.search(message))


def may_be_cut(message: str) -> bool:
    """Whether what GDAL says of a remote file is that it cannot decode it, and not what its server answered."""
    return not any(said.search(message) for said in (_PASSING, _FORBIDDEN, _ANSWERED))
