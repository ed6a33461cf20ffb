"""grpcurl, the client in the documentation of 2022, which relies on reflection alone."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earthsignature_assets.products.product import Asset
from tests.grpc_service.conftest import Facts

GRPCURL = Path(sys.executable).parent / "grpcurl"
V1 = "snapearth.api.v1.DatabaseProductService"
V2 = "snapearth.api.v2.DatabaseProductService"
LEGACY = "snapearth.api.v1.database.DatabaseProductService"


def _run(server: str, *arguments: str, request: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    options = ["-plaintext", "-max-msg-sz", "1073741824"]
    if request is not None:
        options += ["-d", json.dumps(request)]
    return subprocess.run(
        [GRPCURL, *options, server, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def _call(server: str, method: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    result = _run(server, method, request=request)
    assert result.returncode == 0, result.stderr
    answers, decoder, text = [], json.JSONDecoder(), result.stdout.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers


def test_list_names_every_service(server: str) -> None:
    assert _run(server, "list").stdout.split() == [
        "earthsignature.v3.LandCoverService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        V1,
        LEGACY,
        V2,
    ]


@pytest.mark.parametrize("service", [V1, V2, LEGACY])
def test_list_names_every_method(server: str, service: str) -> None:
    methods = ["CreateProduct", "ListProductIds", "ListSegmentation"]
    methods += ["SearchSegmentation"] if service == LEGACY else []
    assert _run(server, "list", service).stdout.split() == [f"{service}.{method}" for method in methods]


def test_describe_shows_the_proto2_shape_of_geobuf(server: str) -> None:
    data = _run(server, "describe", "geobufproto.Data").stdout
    assert "optional uint32 dimensions = 2 [default = 2];" in data
    assert "optional uint32 precision = 3 [default = 6];" in data
    assert (
        "required .geobufproto.Data.Geometry.Type type = 1;"
        in _run(server, "describe", "geobufproto.Data.Geometry").stdout
    )
    assert (
        "required .geobufproto.Data.Geometry geometry = 1;"
        in _run(server, "describe", "geobufproto.Data.Feature").stdout
    )


def test_describe_shows_the_requests(server: str) -> None:
    assert (
        "optional int32 n_results = 6;" in _run(server, "describe", "snapearth.api.v1.ListSegmentationRequest").stdout
    )
    assert (
        "repeated int32 categories = 5;" in _run(server, "describe", "snapearth.api.v2.ListSegmentationRequest").stdout
    )


@pytest.mark.parametrize("service", [V1, LEGACY])
def test_version_1_by_reflection(server: str, facts: Facts, service: str) -> None:
    request = {
        "wkt": "POLYGON ((12 45, 17 45, 17 47, 12 47, 12 45))",
        "startDate": "2022-04-01T00:00:00Z",
        "end_date": "2022-04-30T00:00:00Z",
        "categories": ["312", "Discontinuous urban fabric"],
        "nResults": 5,
    }
    answers = _call(server, f"{service}/ListSegmentation", request)
    assert [answer["productId"] for answer in answers] == [facts.newest, facts.middle]
    assert base64.b64decode(answers[0]["segmentation"]) == facts.content(facts.newest, Asset.LAND_COVER)
    assert base64.b64decode(answers[0]["cloudMask"]) == facts.content(facts.newest, Asset.CLOUD_MASK)
    assert answers[0]["creationDate"] == "2022-04-30T00:00:00Z"
    assert answers[0]["cloudCover"] == 12.637376
    names = _call(server, f"{service}/ListProductIds", {})
    assert [answer["productId"] for answer in names] == facts.newest_first
    assert {answer["model"] for answer in names} == {"corine-unet-v1"}


def test_version_2_by_reflection(server: str, facts: Facts) -> None:
    (answer,) = _call(server, f"{V2}/ListSegmentation", {"categories": [523], "n_results": 1})
    data = answer["segmentation"]
    (feature,) = data["featureCollection"]["features"]
    assert feature["geometry"]["type"] == "POLYGON"
    ((_, shape),) = facts.polygons(facts.oldest)
    rings = [shape.exterior, *shape.interiors]
    assert feature["geometry"]["lengths"] == [len(ring.coords) - 1 for ring in rings]
    differences = np.array([int(text) for text in feature["geometry"]["coords"]]).reshape(-1, 2)
    vertices = np.cumsum(differences[: len(rings[0].coords) - 1], axis=0) / 1e6
    assert vertices.tolist() == [list(vertex) for vertex in shape.exterior.coords[:-1]]


def test_the_published_command_finds_its_values(server: str, facts: Facts) -> None:
    # jq '.segmentation.feature."values" | .[] | .jsonValue'
    answers = _call(server, f"{V2}/ListProductIds", {})
    values = [[value["jsonValue"] for value in answer["segmentation"]["feature"]["values"]] for answer in answers]
    assert [json.dumps(name) in texts for name, texts in zip(facts.newest_first, values, strict=True)] == [True] * 4


def test_a_model_can_be_chosen(server: str, facts: Facts) -> None:
    (answer,) = _call(server, f"{V1}/ListSegmentation", {"model": "corine-unet-v2"})
    assert (answer["productId"], answer["model"]) == (facts.newest, "corine-unet-v2")
    assert base64.b64decode(answer["segmentation"]) == facts.content(facts.second, Asset.LAND_COVER)
    assert len(_call(server, f"{V2}/ListProductIds", {"model": "corine-unet-v2"})) == 1
    assert _call(server, f"{V2}/ListSegmentation", {"model": "corine-unet-v3"}) == []


def test_a_refusal_shows_its_details(server: str) -> None:
    result = _run(server, f"{V1}/ListSegmentation", request={"wkt": "nonsense"})
    assert result.returncode != 0
    assert "InvalidArgument" in result.stderr
    assert '"field":"wkt"' in result.stderr.replace(" ", "")


def test_health_is_served(server: str) -> None:
    for service in ("", V1, V2, LEGACY):
        (answer,) = _call(server, "grpc.health.v1.Health/Check", {"service": service})
        assert answer == {"status": "SERVING"}


def test_version_3_by_reflection(server: str, facts: Facts) -> None:
    service = "earthsignature.v3.LandCoverService"
    (first,) = _call(server, f"{service}/ListProducts", {"page_size": 3, "filter": {"max_cloud_cover": 40}})
    assert [product["productId"] for product in first["products"]] == facts.newest_first[:3]
    assert "nextPageToken" not in first  # `oldest` lies under more cloud
    token = _call(server, f"{service}/ListProducts", {"pageSize": 3})[0]["nextPageToken"]
    (second,) = _call(server, f"{service}/ListProducts", {"pageSize": 3, "pageToken": token})
    assert [product["productId"] for product in second["products"]] == [facts.oldest]
    (models,) = _call(server, f"{service}/ListModels", {})
    assert models["models"][0]["model"] == "corine-unet-v1"
    result = _run(server, f"{service}/GetProduct", request={"product_id": "unknown"})
    assert "NotFound" in result.stderr
