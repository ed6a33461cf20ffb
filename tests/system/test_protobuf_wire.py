import pytest
from google.protobuf.wrappers_pb2 import BytesValue, UInt64Value

from earthsignature_assets.system.protobuf_wire import field_head, varint


@pytest.mark.parametrize("number", [1, 127, 128, 300, 16_383, 16_384, 2**31, 2**63])
def test_a_varint_equals_protobufs(number: int) -> None:
    assert bytes([1 << 3]) + varint(number) == UInt64Value(value=number).SerializeToString()


def test_zero_is_one_byte() -> None:
    assert varint(0) == b"\x00"


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_a_header_and_its_content_are_a_field(size: int) -> None:
    content = b"\x07" * size
    assert BytesValue.FromString(field_head(1, size) + content).value == content
    assert field_head(100, size)[:2] == bytes([0xA2, 0x06])
