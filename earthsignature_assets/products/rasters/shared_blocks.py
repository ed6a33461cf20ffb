"""Blocks of a TIFF that are alike, stored once: DEFLATE shrinks an empty block a thousandfold and no further.

A TIFF says of each block where it begins and how long it is; nothing forbids two blocks to begin at one place, and
readers only follow. 97 % of a tile at the edge of a swath is one value: there the file is halved.

Source: TIFF 6.0, section 15 (TileOffsets, TileByteCounts); GDAL's COG driver for the layout of what is rewritten
(https://gdal.org/drivers/raster/cog.html, "File format details").
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_TILE_OFFSETS, _TILE_BYTE_COUNTS = 324, 325
_TYPES: dict[int, np.dtype[Any]] = {3: np.dtype("<u2"), 4: np.dtype("<u4")}
_ENTRY = 12
_STRUCTURE = b"GDAL_STRUCTURAL_METADATA_SIZE="


@dataclass(frozen=True)
class _Directory:
    """Where one image of the file has its blocks, and where in the file that is written."""

    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    place: int
    dtype: np.dtype[Any]


def share_alike_blocks(content: bytes) -> bytes:
    """Rewrite a tiled little-endian COG so that alike blocks of an image share one place.

    What GDAL says of the file's structure stays true: directories still come before data, overviews before the
    full image; that blocks follow one another row by row is no longer said.

    Raises:
        ValueError: the bytes are not a COG as GDAL writes it (classic TIFF, little-endian, tiled).
    """
    if content[:4] != b"II*\0":
        raise ValueError("no classic little-endian TIFF")
    directories = list(_directories(content))
    first_block = min(int(directory.offsets.min()) for directory in directories)
    header = bytearray(content[:first_block])
    _forget_block_order(header)
    blocks: list[bytes] = []
    end = first_block
    for directory in reversed(directories):  # the smallest overview first
        places: dict[bytes, int] = {}
        moved = np.empty_like(directory.offsets)
        for index, (offset, size) in enumerate(zip(directory.offsets.tolist(), directory.sizes.tolist(), strict=True)):
            block = content[offset : offset + size]
            place = places.get(block)
            if place is None:
                place = places[block] = end
                blocks.append(block)
                end += size
            moved[index] = place
        written = moved.astype(directory.dtype).tobytes()
        header[directory.place : directory.place + len(written)] = written
    return b"".join([header, *blocks])


def _directories(content: bytes) -> Iterator[_Directory]:
    (position,) = struct.unpack_from("<I", content, 4)
    while position:
        (count,) = struct.unpack_from("<H", content, position)
        entries = {}
        for entry in range(position + 2, position + 2 + count * _ENTRY, _ENTRY):
            tag, kind, length = struct.unpack_from("<HHI", content, entry)
            entries[tag] = (entry + 8, kind, length)
        if _TILE_OFFSETS not in entries or _TILE_BYTE_COUNTS not in entries:
            raise ValueError("no tiled TIFF")
        offsets, place, dtype = _values(content, *entries[_TILE_OFFSETS])
        sizes, _, _ = _values(content, *entries[_TILE_BYTE_COUNTS])
        yield _Directory(offsets, sizes, place, dtype)
        (position,) = struct.unpack_from("<I", content, position + 2 + count * _ENTRY)


def _values(content: bytes, place: int, kind: int, length: int) -> tuple[npt.NDArray[np.int64], int, np.dtype[Any]]:
    dtype = _TYPES[kind]
    if length * dtype.itemsize > 4:
        (place,) = struct.unpack_from("<I", content, place)
    return np.frombuffer(content, dtype, length, place).astype(np.int64), place, dtype


def _forget_block_order(header: bytearray) -> None:
    """Leave in GDAL's structural metadata, right after the TIFF header, what is still true; its size stays."""
    if header[8 : 8 + len(_STRUCTURE)] != _STRUCTURE:
        raise ValueError("no COG of GDAL's")
    digits = header[8 + len(_STRUCTURE) :].split(b" ", 1)[0]
    start = header.index(b"\n", 8) + 1
    size = int(digits)
    kept = [
        line
        for line in bytes(header[start : start + size]).split(b"\n")
        if line.startswith((b"LAYOUT=", b"KNOWN_INCOMPATIBLE_EDITION="))
    ]
    header[start : start + size] = (b"\n".join(kept) + b"\n").ljust(size)
