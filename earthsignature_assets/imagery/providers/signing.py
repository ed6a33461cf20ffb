"""Sign URLs in Azure blob storage with tokens that expire, as the Planetary Computer requires.

A URL is signed when it is opened and never stored signed. A token is valid for a whole container; it is reused until
five minutes before it expires, or until the storage refuses it.
"""

import datetime as dt
import os
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from earthsignature_assets.errors import CredentialError, ProviderAnswerError, ProviderUnavailableError
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.access import Access, TokenService

_MARGIN = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class _Token:
    query: str
    expires_at: dt.datetime


class Signer:
    """A signer of URLs that caches tokens; thread-safe."""

    def __init__(self) -> None:
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()

    def sign(self, href: str, service: TokenService, access: Access) -> str:
        """Return the URL with a token that is valid for at least five minutes.

        Raises:
            ProviderUnavailableError: the token service does not respond.
            ProviderAnswerError: its response is not a token.
            CredentialError: it refuses the subscription key.
        """
        address = _token_address(href, service)
        with self._lock:  # other readers wait for the same token
            token = self._tokens.get(address)
            if token is None or token.expires_at - _MARGIN <= dt.datetime.now(dt.UTC):
                token = self._tokens[address] = _fetch(address, service, access)
        return f"{href}{'&' if urlsplit(href).query else '?'}{token.query}"

    def forget(self, href: str, service: TokenService) -> None:
        """Drop the token of a URL after the storage has refused it."""
        with self._lock:
            self._tokens.pop(_token_address(href, service), None)


SIGNER = Signer()
"""The signer that the whole process shares."""


def _token_address(href: str, service: TokenService) -> str:
    parts = urlsplit(href)
    account, container = (parts.hostname or "").split(".")[0], parts.path.strip("/").split("/")[0]
    return f"{service.url.rstrip('/')}/{account}/{container}"


def _fetch(address: str, service: TokenService, access: Access) -> _Token:
    key = os.environ.get(service.key_variable, "") if service.key_variable else ""
    headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
    try:
        with remote_policy.POLICY.session(access) as session:
            answer = session.get(address, headers=headers, timeout=remote_policy.POLICY.timeout_s)
    except requests.RequestException as error:
        raise ProviderUnavailableError(f"token service {address} does not respond: {error}; try again later") from error
    if answer.status_code in (401, 403):
        raise CredentialError(f"token service {address} refuses the key: check {service.key_variable or 'the account'}")
    try:
        answer.raise_for_status()
        content = answer.json()
        return _Token(str(content["token"]), dt.datetime.fromisoformat(content["msft:expiry"]).astimezone(dt.UTC))
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise ProviderAnswerError(f"token service {address} sent no valid token: {error}; check its URL") from error
