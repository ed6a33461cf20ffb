"""Field headers in protobuf's wire format, to be joined with content of megabytes that an encoder would copy.

Format: https://protobuf.dev/programming-guides/encoding/.
"""


def varint(number: int) -> bytes:
    """Encode a non-negative integer: seven bits in each byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field_head(field_number: int, size: int) -> bytes:
    """Encode the tag and length of a bytes, string, packed or message field of `size` bytes."""
    return varint(field_number << 3 | 2) + varint(size)
