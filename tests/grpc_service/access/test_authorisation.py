"""Permission to write, and the connections over which a credential is accepted."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from earthsignature_assets.errors import CredentialError, RoleError
from earthsignature_grpc.access.authorisation import Authorisation
from earthsignature_grpc.access.token_file import Role, TokenFile


@dataclass
class Call:
    """A stand-in for a call: one from another machine cannot be made on loopback."""

    token: str
    address: str
    security: dict[str, list[bytes]] = field(default_factory=dict)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    def auth_context(self) -> dict[str, list[bytes]]:
        return self.security

    def peer(self) -> str:
        return self.address


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def writer(tokens: TokenFile) -> str:
    return tokens.add("ingest", Role.WRITER, dt.timedelta(days=1))


@pytest.mark.parametrize("address", ["ipv4:127.0.0.1:40000", "ipv4:127.9.9.9:1", "ipv6:[::1]:40000", "unix:/run/it"])
def test_this_machine_needs_no_tls(tokens: TokenFile, writer: str, address: str) -> None:
    assert Authorisation(tokens).writer(Call(writer, address)) == "ingest"


@pytest.mark.parametrize("address", ["ipv4:192.0.2.7:40000", "ipv6:[2001:db8::1]:40000", "", "fd:7"])
def test_a_valid_token_from_another_machine_without_tls_is_refused(
    tokens: TokenFile, writer: str, address: str
) -> None:
    with pytest.raises(CredentialError, match="revoke it"):
        Authorisation(tokens).writer(Call(writer, address))
    over_tls = Call(writer, address, {"transport_security_type": [b"ssl"]})
    assert Authorisation(tokens).writer(over_tls) == "ingest"
    assert Authorisation(tokens, plaintext_tokens=True).writer(Call(writer, address)) == "ingest"


def test_readers_do_not_write(tokens: TokenFile) -> None:
    reader = tokens.add("viewer", Role.READER, dt.timedelta(days=1))
    with pytest.raises(RoleError, match="viewer"):
        Authorisation(tokens).writer(Call(reader, "ipv4:127.0.0.1:1"))
