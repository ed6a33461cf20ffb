"""The generated messages: up to date, and the same bytes as google protobuf's."""

import filecmp
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from earthsignature_grpc.messages.geobufproto import (
    Data,
    DataFeature,
    DataFeatureCollection,
    DataGeometry,
    DataGeometryType,
    DataValue,
)
from earthsignature_grpc.wire.descriptors import wire_class, wire_pool

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "generate_messages.py"
MESSAGES = ROOT / "earthsignature_grpc" / "messages"


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(str(path.relative_to(folder)) for path in found)


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "messages")]
    subprocess.run(command, check=True, cwd=tmp_path)
    names = _files(MESSAGES)
    assert _files(tmp_path / "messages") == names
    assert filecmp.cmpfiles(MESSAGES, tmp_path / "messages", names, shallow=False) == (names, [], [])


def test_the_served_contract_is_the_published_one(stubs: SimpleNamespace) -> None:
    """Every message, field and method that clients of 2022 know is unchanged; additions start at 20."""
    pool = wire_pool()
    for module in (stubs.geobuf, stubs.v1, stubs.v2):
        theirs = module.DESCRIPTOR
        for name, message in theirs.message_types_by_name.items():
            _assert_extends(message, pool.FindMessageTypeByName(f"{theirs.package}.{name}"))
        for name, service in theirs.services_by_name.items():
            ours = pool.FindServiceByName(f"{theirs.package}.{name}")
            assert list(ours.methods_by_name) == list(service.methods_by_name)
            for method in service.methods:
                same = ours.methods_by_name[method.name]
                assert (same.input_type.full_name, same.output_type.full_name, same.server_streaming) == (
                    method.input_type.full_name,
                    method.output_type.full_name,
                    method.server_streaming,
                )


def _assert_extends(theirs: Any, ours: Any) -> None:
    for field in theirs.fields:
        same = ours.fields_by_number[field.number]
        for fact in ("name", "type", "label", "has_presence", "has_default_value", "default_value", "is_packed"):
            if fact == "default_value" and field.message_type is not None:
                continue
            assert _fact(same, fact) == _fact(field, fact), (theirs.full_name, field.name, fact)
    added = set(ours.fields_by_number) - set(theirs.fields_by_number)
    assert all(number >= 20 for number in added)
    assert ours.full_name.startswith("geobufproto") <= (not added)
    for nested in theirs.nested_types:
        _assert_extends(nested, ours.nested_types_by_name[nested.name])


def _fact(field: Any, name: str) -> Any:
    if name == "label":
        return field.is_required, field.is_repeated
    return getattr(field, name)


@pytest.mark.parametrize("kind", list(DataGeometryType))
def test_geobuf_is_written_as_google_protobuf_writes_it(stubs: SimpleNamespace, kind: DataGeometryType) -> None:
    """Zeros that proto3 would drop are kept: `type = POINT`, `precision = 0`."""
    theirs = stubs.geobuf.Data(keys=["a"], dimensions=2, precision=0)
    feature = theirs.feature_collection.features.add(id="0", properties=[0, 0])
    feature.geometry.type = int(kind)
    feature.geometry.lengths.extend([3, 4])
    feature.geometry.coords.extend([0, -1, 1 << 40, -(1 << 40)])
    feature.values.add(json_value="0")
    feature.values.add(bool_value=False)
    ours = Data(
        keys=["a"],
        dimensions=2,
        precision=0,
        feature_collection=DataFeatureCollection(
            features=[
                DataFeature(
                    id="0",
                    properties=[0, 0],
                    geometry=DataGeometry(type=kind, lengths=[3, 4], coords=[0, -1, 1 << 40, -(1 << 40)]),
                    values=[DataValue(json_value="0"), DataValue(bool_value=False)],
                )
            ]
        ),
    )
    assert bytes(ours) == theirs.SerializeToString()
    assert bytes(Data.parse(theirs.SerializeToString())) == theirs.SerializeToString()
    assert wire_class("geobufproto.Data").FromString(bytes(ours)).IsInitialized()


def test_an_absent_type_differs_from_point() -> None:
    assert bytes(DataGeometry()) == b""
    assert bytes(DataGeometry(type=DataGeometryType.POINT)) == b"\x08\x00"


def test_the_rendition_differs_in_presence_only() -> None:
    """The proto3 version for generation is valid and has all numbers and types of the proto2 version."""
    script = runpy.run_path(str(SCRIPT))
    file = next(file for file in script["compile_descriptors"]().file if file.package == "geobufproto")
    pool = descriptor_pool.DescriptorPool()
    rendition = pool.AddSerializedFile(script["as_proto3"](file).SerializeToString())
    _assert_same_wire(
        wire_pool().FindMessageTypeByName("geobufproto.Data"), pool.FindMessageTypeByName("geobufproto.Data")
    )
    assert (rendition.package, descriptor_pb2.FileDescriptorProto.FromString(rendition.serialized_pb).syntax) == (
        "geobufproto",
        "proto3",
    )


def _assert_same_wire(theirs: Any, ours: Any) -> None:
    facts = [(f.number, f.name, f.type, f.is_repeated, f.has_presence, f.is_packed) for f in theirs.fields]
    assert [(f.number, f.name, f.type, f.is_repeated, f.has_presence, f.is_packed) for f in ours.fields] == facts
    for nested in theirs.nested_types:
        _assert_same_wire(nested, ours.nested_types_by_name[nested.name])
