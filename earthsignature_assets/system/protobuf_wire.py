"""The wire format of protobuf where an encoder would copy megabytes: heads of fields, to be joined with what they hold.

Format: https://protobuf.dev/programming-guides/encoding/.
"""


def varint(number: int) -> bytes:
    """A whole number, not negative: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field_head(field_number: int, size: int) -> bytes:
    """What stands before the `size` bytes of a bytes, string, packed or message field: its tag and its length."""
    return varint(field_number << 3 | 2) + varint(size)
