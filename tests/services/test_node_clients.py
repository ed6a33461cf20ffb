"""Clients of other ecosystems: `buf curl`, which speaks gRPC by reflection, and mapbox's own Geobuf decoder."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geobuf
import pytest
from google.rpc import error_details_pb2

from earthsignature_assets.cli.service import service_process
from earthsignature_assets.products.product import Asset
from earthsignature_grpc.client import EarthSignatureClient
from tests.conftest import Deployment

pytestmark = pytest.mark.services
NODE = Path(__file__).resolve().parents[2] / "build" / "services" / "node" / "node_modules"
V1, V2 = "snapearth.api.v1.DatabaseProductService", "snapearth.api.v2.DatabaseProductService"


@pytest.fixture(scope="module")
def address(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not NODE.is_dir():
        pytest.fail("the Node clients are missing: run scripts/install_services")
    log = tmp_path_factory.mktemp("node") / "service.log"
    with service_process(deployment.workspace.store.root, log) as address:
        yield address


def _buf(address: str, method: str, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    options = ["--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(request)]
    return subprocess.run(
        [NODE / ".bin" / "buf", "curl", *options, f"http://{address}/{method}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _answers(address: str, method: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    result = _buf(address, method, request)
    assert result.returncode == 0, result.stderr
    answers, decoder, text = [], json.JSONDecoder(), result.stdout.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers


def test_buf_receives_rasters(address: str, deployment: Deployment) -> None:
    product = deployment.product
    (answer,) = _answers(address, f"{V1}/ListSegmentation", {"wkt": product.footprint.wkt, "n_results": 1})
    assert answer["productId"] == product.product_id
    for field, asset in (("segmentation", Asset.LAND_COVER), ("cloudMask", Asset.CLOUD_MASK)):
        assert base64.b64decode(answer[field]) == deployment.workspace.store.read(product, asset)


def test_buf_receives_names_and_nothing(address: str, deployment: Deployment) -> None:
    (answer,) = _answers(address, f"{V2}/ListProductIds", {})
    assert answer["segmentation"]["feature"]["id"] == deployment.product.product_id
    assert _answers(address, f"{V1}/ListProductIds", {"categories": ["Rice fields"]}) == []


def test_buf_shows_what_is_refused(address: str) -> None:
    result = _buf(address, f"{V1}/ListProductIds", {"wkt": "nonsense"})
    assert result.returncode != 0
    refusal = json.loads(result.stderr)
    assert refusal["code"] == "invalid_argument"
    (detail,) = refusal["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    unpadded = detail["value"]
    content = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4))
    assert error_details_pb2.BadRequest.FromString(content).field_violations[0].field == "wkt"


def test_buf_puts_a_file_together_from_pieces(address: str, deployment: Deployment) -> None:
    product, service = deployment.product, "earthsignature.v3.LandCoverService"
    (described,) = _answers(address, f"{service}/GetProduct", {"product_id": product.product_id})
    request = {"product_id": product.product_id, "asset": "land_cover", "digest": described["digest"]}
    content = b""
    for offset in (0, 1000):
        length = 1000 if offset == 0 else 0
        head, *pieces = _answers(address, f"{service}/DownloadAsset", {**request, "offset": offset, "length": length})
        content += b"".join(base64.b64decode(piece["data"]) for piece in pieces)
    assert content == deployment.workspace.store.read(product, Asset.LAND_COVER)
    assert hashlib.sha256(content).hexdigest() == head["asset"]["sha256"]


@pytest.mark.parametrize("method", ["polygons_v2", "product_features_v2"])
def test_two_decoders_of_geobuf_see_the_same(address: str, method: str) -> None:
    with EarthSignatureClient(address) as client:
        (product,) = getattr(client, method)()
    script = Path(__file__).with_name("decode_geobuf.mjs")
    result = subprocess.run(
        ["node", script, NODE.parent], input=product.geobuf, capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr.decode()
    by_mapbox, by_pypi = json.loads(result.stdout), json.loads(json.dumps(geobuf.decode(product.geobuf)))
    assert by_mapbox == by_pypi
    assert len(by_mapbox.get("features", [by_mapbox])) >= 1
