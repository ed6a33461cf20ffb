"""TLS and mutual TLS, with certificates that change under a running server."""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from earthsignature_assets.errors import CertificateError
from earthsignature_grpc.access.security import Certificates, Security
from earthsignature_grpc.server.server import running_server
from tests.grpc_service.conftest import Authority, Facts, MakeAuthority
from tests.raw_calls import unary_stream

IDS = "/snapearth.api.v1.DatabaseProductService/ListProductIds"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, make_authority: MakeAuthority) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls") / "authority")


async def _names(port: int, credentials: grpc.ChannelCredentials | None) -> int:
    options = [("grpc.use_local_subchannel_pool", 1)]
    target = f"localhost:{port}"
    channel = (
        grpc.aio.insecure_channel(target, options)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials, options)
    )
    async with channel:
        return len([answer async for answer in unary_stream(channel, IDS)(b"", timeout=5)])


async def test_a_tls_server_accepts_only_tls(facts: Facts, authority: Authority) -> None:
    security = Security(Certificates(*authority.vouch("server")))
    async with running_server(facts.root, "127.0.0.1:0", security=security) as port:
        trusting = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        assert await _names(port, trusting) == 4
        for credentials in (None, grpc.ssl_channel_credentials()):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _names(port, credentials)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_requires_a_certificate_of_the_authority(
    facts: Facts, authority: Authority, make_authority: MakeAuthority, tmp_path: Path
) -> None:
    security = Security(Certificates(*authority.vouch("server"), client_authorities=authority.certificate))
    roots = authority.certificate.read_bytes()
    stranger = make_authority(tmp_path / "stranger").vouch("client")

    def credentials(certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            roots, None if key is None else key.read_bytes(), None if certificate is None else certificate.read_bytes()
        )

    async with running_server(facts.root, "127.0.0.1:0", security=security) as port:
        assert await _names(port, credentials(*authority.vouch("client"))) == 4
        for pair in ((None, None), stranger):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _names(port, credentials(*pair))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_applies_and_half_a_renewal_does_not(
    facts: Facts, authority: Authority, tmp_path: Path
) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def install(name: str, *files: Path) -> None:
        for source, target in zip(authority.vouch(name), (chain, key), strict=True):
            if target in files:
                shutil.copy(source, tmp_path / "new")
                (tmp_path / "new").replace(target)

    install("first", chain, key)
    async with running_server(facts.root, "127.0.0.1:0", security=Security(Certificates(chain, key))) as port:
        assert await _common_name(port, authority.certificate) == "first"
        install("second", chain)  # it does not fit the key
        assert await _common_name(port, authority.certificate) == "first"
        install("third", chain, key)
        assert await _common_name(port, authority.certificate) == "third"
        key.unlink()
        assert await _common_name(port, authority.certificate) == "third"


async def _common_name(port: int, authority: Path) -> str:
    def ask() -> str:
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            certificate: dict[str, Any] = secure.getpeercert() or {}
            return str(dict(pair for (pair,) in certificate["subject"])["commonName"])

    return await asyncio.to_thread(ask)


async def test_files_that_do_not_fit_together_are_refused(facts: Facts, authority: Authority, tmp_path: Path) -> None:
    (chain, key), (_, other) = authority.vouch("server"), authority.vouch("other")
    (tmp_path / "text").write_text("no PEM")
    for certificates in (
        Certificates(chain, other),
        Certificates(tmp_path / "absent", key),
        Certificates(tmp_path / "text", key),
        Certificates(chain, key, tmp_path / "text"),
    ):
        with pytest.raises(CertificateError):
            async with running_server(facts.root, "127.0.0.1:0", security=Security(certificates)):
                pass
