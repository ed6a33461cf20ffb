"""Downloads: whole, from an offset, after an interruption, after a republication."""

import hashlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from earthsignature_assets.errors import DownloadError, NoSuchProductError, QueryError, ServiceAnswerError
from earthsignature_assets.nomenclature import CODES
from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc.client import EarthSignatureClient, Progress
from earthsignature_grpc.client.downloads import Download
from earthsignature_grpc.client.requests import Call, download_asset
from earthsignature_grpc.messages.earthsignature.v3 import Asset as AssetMessage
from earthsignature_grpc.messages.earthsignature.v3 import DownloadAssetRequest, DownloadAssetResponse
from earthsignature_grpc.v3.download import PIECE_BYTES
from tests.grpc_service.v3.conftest import Ask, Shelf
from tests.raw_calls import unary_stream


@pytest.fixture
def product(shelf: Shelf, name_of: Callable[..., str]) -> Product:
    """A product whose land cover takes several pieces."""
    noise = np.random.default_rng(1).choice(np.array(CODES, np.uint16), (2500, 2500))
    published = shelf.put(name_of(), noise)
    assert len(shelf.content(published, Asset.LAND_COVER)) > 3 * PIECE_BYTES
    return published


def _responses(client: EarthSignatureClient, **fields: Any) -> list[DownloadAssetResponse]:
    request = DownloadAssetRequest(**fields)
    call = Call("/earthsignature.v3.LandCoverService/DownloadAsset", bytes(request), DownloadAssetResponse.parse)
    return list(client._responses(call, 20))


def test_a_file_arrives_whole_with_progress(
    ask: Ask, address: str, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    path = ask(
        address,
        "download",
        product.product_id,
        "land_cover",
        tmp_path / "new" / "classes.tif",
        on_progress=reports.append,
    )
    content = shelf.content(product, Asset.LAND_COVER)
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["classes.tif"]
    assert reports[0] == Progress("land_cover.tif", 0, len(content))
    assert reports[-1] == Progress("land_cover.tif", len(content), len(content))
    assert len(reports) >= 4


def test_a_file_arrives_in_memory(ask: Ask, address: str, shelf: Shelf, product: Product) -> None:
    assert ask(address, "read", product.product_id, "cloud_mask") == shelf.content(product, Asset.CLOUD_MASK)
    assert ask(address, "read", product.product_id, "item") == shelf.content(product, Asset.ITEM)


def test_a_range_is_exact(client: EarthSignatureClient, shelf: Shelf, product: Product) -> None:
    content = shelf.content(product, Asset.LAND_COVER)
    digest = product.folder.rpartition("/")[2]
    for offset, length in ((0, 1), (0, PIECE_BYTES), (5, PIECE_BYTES + 7), (PIECE_BYTES, 0), (len(content), 0)):
        head, *pieces = _responses(
            client, product_id=product.product_id, asset="land_cover", digest=digest, offset=offset, length=length
        )
        assert (head.offset, head.digest, head.data) == (offset, digest, b"")
        assert head.asset is not None
        assert head.asset.sha256 == hashlib.sha256(content).hexdigest()
        expected = content[offset : offset + length if length else None]
        assert b"".join(piece.data for piece in pieces) == expected
        assert all(len(piece.data) <= PIECE_BYTES for piece in pieces)


def test_an_interrupted_download_resumes(
    ask: Ask, address: str, client: EarthSignatureClient, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    path, content = tmp_path / "classes.tif", shelf.content(product, Asset.LAND_COVER)
    with Download(path) as download:
        responses = client._responses(download_asset(product.product_id, None, "land_cover", "", 0), 20)
        for _ in range(3):
            download.take(next(responses))
        assert isinstance(responses, Generator)
        responses.close()
    assert not path.exists()
    (part,) = tmp_path.glob(".classes.tif.*.part")
    assert part.read_bytes() == content[: 2 * PIECE_BYTES]
    reports: list[Progress] = []
    ask(address, "download", product.product_id, "land_cover", path, on_progress=reports.append)
    assert reports[0].received_bytes == 2 * PIECE_BYTES
    assert path.read_bytes() == content
    assert not part.exists()


def test_an_existing_file_is_not_downloaded_again(
    ask: Ask, address: str, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    path = tmp_path / "classes.tif"
    path.write_bytes(shelf.content(product, Asset.LAND_COVER))
    before = path.stat().st_mtime_ns
    reports: list[Progress] = []
    ask(address, "download", product.product_id, "land_cover", path, on_progress=reports.append)
    assert (path.stat().st_mtime_ns, len(reports)) == (before, 1)
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    ask(address, "download", product.product_id, "land_cover", path)
    assert path.read_bytes() == shelf.content(product, Asset.LAND_COVER)


def test_a_damaged_part_is_detected_and_removed(
    ask: Ask, address: str, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    path = tmp_path / "classes.tif"
    part = tmp_path / f".classes.tif.{product.folder.rpartition('/')[2]}.part"
    part.write_bytes(b"not what was sent")
    with pytest.raises(ServiceAnswerError, match="SHA-256"):
        ask(address, "download", product.product_id, "land_cover", path)
    assert list(tmp_path.glob(".classes*")) == []
    ask(address, "download", product.product_id, "land_cover", path)


def test_a_download_of_superseded_content_starts_over(
    ask: Ask, address: str, client: EarthSignatureClient, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    path = tmp_path / "classes.tif"
    with Download(path) as download:
        responses = client._responses(download_asset(product.product_id, None, "land_cover", "", 0), 20)
        for _ in range(3):
            download.take(next(responses))
        assert isinstance(responses, Generator)
        responses.close()
    newer = shelf.put(product.product_id, np.full((128, 128), 512, np.uint16))
    ask(address, "download", product.product_id, "land_cover", path)
    assert path.read_bytes() == shelf.content(newer, Asset.LAND_COVER)
    assert [entry.name for entry in tmp_path.iterdir() if "classes" in entry.name] == ["classes.tif"]


def test_a_range_of_a_superseded_content_is_refused(
    client: EarthSignatureClient, address: str, shelf: Shelf, product: Product
) -> None:
    old = product.folder.rpartition("/")[2]
    shelf.put(product.product_id, np.full((128, 128), 512, np.uint16))
    request = DownloadAssetRequest(product_id=product.product_id, asset="land_cover", digest=old, offset=10)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(unary_stream(channel, "/earthsignature.v3.LandCoverService/DownloadAsset")(bytes(request), timeout=20))
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert "was republished" in (caught.value.details() or "")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"asset": "../item.json"}, "asset"),
        ({"asset": ""}, "asset"),
        ({"asset": "land_cover", "offset": -1}, "offset"),
        ({"asset": "land_cover", "length": -1}, "length"),
        ({"asset": "land_cover", "offset": 1}, "digest"),
        ({"asset": "land_cover", "offset": 1 << 62, "digest": "current"}, "offset"),
        ({"asset": "land_cover", "model": "../../x"}, "model"),
    ],
)
def test_invalid_downloads_are_refused_by_field(
    client: EarthSignatureClient, product: Product, fields: dict[str, Any], field: str
) -> None:
    if fields.get("digest"):
        fields = {**fields, "digest": product.folder.rpartition("/")[2]}
    with pytest.raises(QueryError) as caught:
        _responses(client, product_id=product.product_id, **fields)
    assert caught.value.field == field


def test_an_unknown_product_is_not_found(
    ask: Ask, address: str, shelf: Shelf, product: Product, tmp_path: Path
) -> None:
    with pytest.raises(NoSuchProductError):
        ask(address, "download", "unknown", "land_cover", tmp_path / "x.tif")
    assert not list(tmp_path.glob("*x.tif*"))


def test_an_unwritable_folder_is_named(ask: Ask, address: str, product: Product, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="file"):
        ask(address, "download", product.product_id, "land_cover", tmp_path / "file" / "x.tif")


@pytest.mark.parametrize("digest", ["", "../../x", "a/b"])
def test_a_digest_never_becomes_a_path(tmp_path: Path, digest: str) -> None:
    head = DownloadAssetResponse(asset=AssetMessage(name="item", size_bytes=1, sha256="0"), digest=digest)
    with Download(tmp_path / "x") as download, pytest.raises(ServiceAnswerError, match="invalid digest"):
        download.take(bytes(head))


def test_data_out_of_place_is_refused(tmp_path: Path) -> None:
    head = DownloadAssetResponse(asset=AssetMessage(name="item", size_bytes=9, sha256="0"), digest="abc")
    with Download(tmp_path / "x") as download:
        download.take(bytes(head))
        with pytest.raises(ServiceAnswerError, match="offset 5; expected 0"):
            download.take(bytes(DownloadAssetResponse(offset=5, data=b"abc")))
