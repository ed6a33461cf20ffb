"""Compare the header of a band's file with its item, so that a wrong file is never used."""

from earthsignature_assets.errors import BandError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.imagery.reading.band_reader import REMEDY, BandReader
from earthsignature_assets.imagery.scenes.band_asset import BandFile
from earthsignature_assets.imagery.scenes.scene import SceneItem
from earthsignature_assets.sentinel2 import TEN_METRE_BANDS

_INTEGERS = ("uint8", "uint16", "int16")
_TOLERANCE_M = 0.01


def check_header(reader: BandReader, part: SceneItem, file: BandFile) -> None:
    """Refuse a band whose file contradicts its item.

    CRS, grid, data type, no-data, scale and offset are compared if the item states them. If it does not state the
    file's grid, that must cover the item's 10 m grid.

    Args:
        reader: the open band.
        part: the band's item.
        file: the item's statements on the band.

    Raises:
        BandError: the file contradicts the item; the message gives both values.
    """
    stated_m = file.grid.resolution_m if file.grid else file.resolution_m or _native_resolution_m(reader.band)
    checks = (
        ("EPSG code", reader.grid.epsg, part.grid.epsg),
        ("pixel size in metres", reader.grid.resolution_m, min(stated_m, reader.grid.resolution_m)),
        ("grid", reader.grid, _nearly(file.grid, reader.grid)),
        ("data type", reader.data_type, file.data_type or _integer(reader.data_type)),
        ("no-data value", reader.no_data, file.no_data),
        ("offset in digital numbers", reader.offset_dn, _nearest_offset_dn(reader, file)),
    )
    for name, found, stated in checks:
        if None not in (found, stated) and found != stated:
            raise BandError(_message(reader, f"has the {name} {found}, the item says {stated}"))
    # In crops a coarser band may start or end up to one of its own pixels inside the item's grid.
    slack = reader.grid.resolution_m
    west, south, east, north = part.grid.bounds
    has_west, has_south, has_east, has_north = reader.grid.bounds
    if has_west > west + slack or has_south > south + slack or has_east < east - slack or has_north < north - slack:
        raise BandError(
            _message(reader, f"covers {reader.grid.bounds}, the item's grid is {part.grid.bounds} (metres)")
        )


def _message(reader: BandReader, fault: str) -> str:
    return f"item {reader.item_id}: band {reader.band} ({reader.href}) {fault}; {REMEDY}"


def _native_resolution_m(band: str) -> float:
    return 10.0 if band in TEN_METRE_BANDS else 20.0


def _nearly(stated: PixelGrid | None, found: PixelGrid) -> PixelGrid | None:
    """Return the stated grid, or the found one if they differ by less than a centimetre."""
    if stated is None or stated.shape != found.shape or stated.epsg != found.epsg:
        return stated
    near = all(abs(one - other) < _TOLERANCE_M for one, other in zip(stated.bounds, found.bounds, strict=True))
    return found if near else stated


def _integer(data_type: str) -> str:
    return data_type if data_type in _INTEGERS else " or ".join(_INTEGERS)


def _nearest_offset_dn(reader: BandReader, file: BandFile) -> int | None:
    """Return the item's offset; the provider's rule decides whether it is still to be added, not the file."""
    if file.stated_offset_dn is None:
        return None
    return reader.offset_dn if reader.offset_dn in (file.offset_dn, file.stated_offset_dn) else file.offset_dn
