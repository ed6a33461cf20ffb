"""Bands behind signed URLs and on S3, read from real servers on loopback."""

import dataclasses
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import BandError, ConfigurationError, CredentialError, ProviderUnavailableError
from earthsignature_assets.imagery.providers.access import S3, Access, TokenService
from earthsignature_assets.imagery.providers.signing import SIGNER
from earthsignature_assets.imagery.reading.band_reader import BandReader, gdal_environment
from earthsignature_assets.imagery.scenes.band_asset import BandFile

pytestmark = pytest.mark.usefixtures("no_pauses")

# In a separate process: rasterio holds the interpreter lock while it opens a URL.
_SERVER = """
import http.server, json, pathlib, re, socket, sys, time
folder, log = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]) / "log"
state = {"token": 0, "asked": 0}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        with log.open("a") as out:
            out.write(json.dumps([path, query, dict(self.headers)]) + chr(10))
        if path.startswith("/token/"):
            state["asked"] += 1
            if state["asked"] <= int((folder / "busy").read_text()):
                return self.answer(503, b"busy")
            state["token"] += 1
            minutes = int((folder / "minutes").read_text())
            expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * minutes))
            return self.answer(200, json.dumps({"msft:expiry": expiry, "token": f"sig=t{state['token']}"}).encode())
        signed = query == "sig=" + (folder / "accepted").read_text().replace("latest", f"t{state['token']}")
        if not signed and "Credential=KEY/" not in self.headers.get("Authorization", ""):
            return self.answer(403, b"AuthenticationFailed")
        content = (folder / path.rsplit("/", 1)[1]).read_bytes()
        wanted = re.fullmatch(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            return self.answer(206, content[first:last + 1], f"bytes {first}-{last}/{len(content)}")
        self.answer(200, content)
    def answer(self, status, body, part=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(folder / "port").write_text(str(server.server_port))
server.serve_forever()
"""


class Storage:
    """A server that requires signed URLs or S3 credentials, and the requests that it received."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.accept("latest")
        self.tokens_last(60)
        self.refuse_tokens(0)
        self.values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        transform = rasterio.transform.from_origin(600000, 5000000, 10, 10)
        profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint16", "crs": "EPSG:32634"}
        with rasterio.open(folder / "B02.tif", "w", transform=transform, **profile) as dataset:
            dataset.write(self.values, 1)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{(self.folder / 'port').read_text()}"

    def accept(self, token: str) -> None:
        (self.folder / "accepted").write_text(token)

    def tokens_last(self, minutes: int) -> None:
        (self.folder / "minutes").write_text(str(minutes))

    def refuse_tokens(self, times: int) -> None:
        (self.folder / "busy").write_text(str(times))

    def asked(self) -> list[tuple[str, str, dict[str, str]]]:
        return [tuple(json.loads(line)) for line in (self.folder / "log").read_text().splitlines()]

    def tokens_given(self) -> int:
        return sum(path.startswith("/token/") for path, _, _ in self.asked())


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_SERVER), str(tmp_path)])
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "port").exists() or not (tmp_path / "port").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield made
    finally:
        process.kill()
        process.wait()


def read(href: str, access: Access) -> np.ndarray:
    with gdal_environment(access), BandReader("item", "B02", BandFile(href), access) as reader:
        return reader.read(reader.grid.whole, np.empty(reader.grid.shape, np.uint16))


def signed(storage: Storage) -> Access:
    return Access(tokens=TokenService(f"{storage.root}/token"))


def test_a_signed_address_is_opened_with_one_token_for_all(storage: Storage) -> None:
    for _ in range(2):
        assert np.array_equal(read(f"{storage.root}/container/B02.tif", signed(storage)), storage.values)
    assert storage.tokens_given() == 1
    assert "/token/127/container" in [path for path, _, _ in storage.asked()]


def test_a_token_that_is_about_to_expire_is_renewed(storage: Storage) -> None:
    storage.tokens_last(4)
    for _ in range(2):
        assert np.array_equal(read(f"{storage.root}/container/B02.tif", signed(storage)), storage.values)
    assert storage.tokens_given() == 2


def test_a_token_that_the_storage_refuses_is_renewed_once(storage: Storage) -> None:
    access, href = signed(storage), f"{storage.root}/container/B02.tif"
    SIGNER.sign(href, access.tokens, access)  # type: ignore[arg-type]
    storage.accept("t2")  # the first is revoked
    assert np.array_equal(read(href, access), storage.values)
    storage.accept("none")
    with pytest.raises(BandError, match="B02") as refusal:
        read(href, access)
    assert "sig=t" not in str(refusal.value)
    assert storage.tokens_given() == 3


def test_a_busy_token_service_is_retried(storage: Storage) -> None:
    storage.refuse_tokens(2)
    assert np.array_equal(read(f"{storage.root}/container/B02.tif", signed(storage)), storage.values)
    storage.refuse_tokens(1000)
    SIGNER.forget(f"{storage.root}/container/B02.tif", TokenService(f"{storage.root}/token"))
    with pytest.raises(ProviderUnavailableError, match="token service"):
        read(f"{storage.root}/container/B02.tif", signed(storage))


def test_an_absent_token_service_is_retryable() -> None:
    access = Access(tokens=TokenService("http://127.0.0.1:9/token"))
    with pytest.raises(ProviderUnavailableError, match="token service"):
        read("http://127.0.0.1:9/container/B02.tif", access)


def test_s3_is_addressed_by_path_with_the_credentials_of_the_environment(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access(s3=S3(storage.root, "TEST_KEY", "TEST_SECRET"))
    with pytest.raises(CredentialError, match="TEST_KEY"):
        read("s3://eodata/B02.tif", access)
    monkeypatch.setenv("TEST_KEY", "KEY")
    monkeypatch.setenv("TEST_SECRET", "secret")
    assert np.array_equal(read("s3://eodata/B02.tif", access), storage.values)
    path, _, headers = next(request for request in storage.asked() if request[0].endswith("B02.tif"))
    assert path == "/eodata/B02.tif"
    assert headers["Host"] == storage.root.removeprefix("http://")
    assert "x-amz-request-payer" not in {name.lower() for name in headers}


def test_an_s3_address_without_an_endpoint_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give its provider an S3 endpoint"):
        read("s3://eodata/B02.tif", Access())


def test_a_refused_s3_key_names_the_variables_that_hold_it(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "OTHER")
    monkeypatch.setenv("TEST_SECRET", "secret")
    with pytest.raises(CredentialError, match="check TEST_KEY and TEST_SECRET") as refusal:
        read("s3://eodata/B02.tif", Access(s3=S3(storage.root, "TEST_KEY", "TEST_SECRET")))
    assert "secret" not in str(refusal.value).replace("TEST_SECRET", "")


def test_variables_of_other_programs_change_no_request(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "GDAL_HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "home" / ".netrc"
    netrc.parent.mkdir()
    netrc.write_text("machine 127.0.0.1 login somebody password secret")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(netrc.parent))
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("TEST_KEY", "KEY")
    monkeypatch.setenv("TEST_SECRET", "secret")
    signed_s3 = Access(s3=S3(storage.root, "TEST_KEY", "TEST_SECRET"))
    assert np.array_equal(read("s3://eodata/B02.tif", signed_s3), storage.values)
    assert np.array_equal(read(f"{storage.root}/container/B02.tif", signed(storage)), storage.values)
    authorised = [headers.get("Authorization", "") for path, _, headers in storage.asked() if "container" in path]
    assert set(authorised) == {""}


def test_the_proxy_of_the_settings_is_used(storage: Storage) -> None:
    access = dataclasses.replace(signed(storage), proxy="http://127.0.0.1:9")
    SIGNER.forget(f"{storage.root}/container/B02.tif", TokenService(f"{storage.root}/token"))
    with pytest.raises(ProviderUnavailableError, match="token service"):
        read(f"{storage.root}/container/B02.tif", access)
    with pytest.raises(ProviderUnavailableError, match="B02"):
        read(f"{storage.root}/B02.tif", Access(proxy="http://127.0.0.1:9"))
