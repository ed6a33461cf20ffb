"""The token file: its content, its secrecy, and how a running server follows it."""

import datetime as dt
import json
import threading
from pathlib import Path

import pytest

from earthsignature_assets.errors import TokenError
from earthsignature_grpc.access.token_file import Role, TokenFile

YEAR = dt.timedelta(days=365)


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_a_token_is_found_by_its_secret_alone(file: TokenFile) -> None:
    secret = file.add("ingest", Role.WRITER, YEAR)
    found = file.find(secret)
    assert found is not None
    assert (found.name, found.role) == ("ingest", Role.WRITER)
    for other in ("", "es_", secret[:-1], secret + "x", found.sha256, "\udcff".encode("utf-8", "replace").decode()):
        assert file.find(other) is None


def test_the_file_holds_no_secret_and_is_its_owners(file: TokenFile) -> None:
    secret = file.add("ingest", Role.WRITER, YEAR)
    text = file.path.read_text()
    assert secret not in text
    assert secret.removeprefix("es_") not in text
    assert file.path.stat().st_mode & 0o077 == 0
    assert len(secret) > 43  # 256 bits in base64


def test_an_open_file_sees_additions_and_revocations_at_once(file: TokenFile) -> None:
    reader = TokenFile(file.path)
    assert reader.find("es_x") is None
    first = file.add("first", Role.WRITER, YEAR)
    second = file.add("second", Role.READER, YEAR)
    found = [reader.find(secret) for secret in (first, second)]
    assert [token and (token.name, token.role) for token in found] == [("first", Role.WRITER), ("second", Role.READER)]
    file.revoke("first")
    assert reader.find(first) is None
    assert reader.find(second) is not None


def test_an_expired_token_is_not_found(file: TokenFile) -> None:
    secret = file.add("ingest", Role.WRITER, dt.timedelta(seconds=-1))
    assert file.find(secret) is None
    assert [token.name for token in file.tokens()] == ["ingest"]


def test_names_are_unique_and_plain(file: TokenFile) -> None:
    file.add("ingest", Role.WRITER, YEAR)
    with pytest.raises(TokenError, match="revoke it"):
        file.add("ingest", Role.READER, YEAR)
    for name in ("", "a b", "../x", "x\n", "x" * 65):
        with pytest.raises(TokenError, match="not a token name"):
            file.add(name, Role.WRITER, YEAR)
    with pytest.raises(TokenError, match="no token 'other'"):
        file.revoke("other")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"tokens": [{}]}', '{"tokens": [{"name": "a", "role": "root", "sha256": "", "created": ""}]}'],
)
def test_a_damaged_file_admits_nobody(file: TokenFile, content: str, caplog: pytest.LogCaptureFixture) -> None:
    secret = file.add("ingest", Role.WRITER, YEAR)
    assert file.find(secret)
    file.path.write_text(content)
    assert file.find(secret) is None
    assert "nobody may write" in caplog.text
    with pytest.raises(TokenError, match="cannot be read"):
        file.add("other", Role.WRITER, YEAR)
    assert file.path.read_text() == content


def test_an_end_without_time_zone_is_damage(file: TokenFile) -> None:
    file.add("ingest", Role.WRITER, YEAR)
    content = json.loads(file.path.read_text())
    content["tokens"][0]["expires"] = "2999-01-01"
    file.path.write_text(json.dumps(content))
    with pytest.raises(TokenError):
        file.tokens()


def test_many_may_add_at_once(file: TokenFile) -> None:
    threads = [threading.Thread(target=file.add, args=(f"t{n}", Role.WRITER, YEAR)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.tokens()) == 12
