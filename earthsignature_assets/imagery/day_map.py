"""The map of a day: where scenes lie, and which of them are clear enough."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.imagery.verdicts import Verdict
from earthsignature_assets.pictures import RGB

_ACCEPTED, _REFUSED = (47, 158, 68), (224, 49, 49)
_INK, _PAPER, _GRATICULE = (33, 37, 41), (255, 255, 255), (222, 226, 230)
_WIDTH, _HEAD, _MARGIN = 720, 40, 40


def draw_day(title: str, scenes: Sequence[tuple[Verdict, BaseGeometry]]) -> RGB:
    """Draw the footprints (EPSG:4326) of a day's scenes, green where accepted and red where refused.

    Returns:
        (height, 720, 3) uint8, plate carrée stretched to the scenes' middle latitude.
    """
    boxes = np.array([footprint.bounds for _, footprint in scenes])
    west, south = boxes[:, :2].min(axis=0) - 0.3
    east, north = boxes[:, 2:].max(axis=0) + 0.3
    shrink = max(0.2, float(np.cos(np.radians((south + north) / 2))))
    scale = (_WIDTH - 2 * _MARGIN) / ((east - west) * shrink)
    height = int(_HEAD + (north - south) * scale + _MARGIN)
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(sheet, "RGBA")
    font, small = ImageFont.load_default(18), ImageFont.load_default(12)

    def place(longitude: float, latitude: float) -> tuple[float, float]:
        return _MARGIN + (longitude - west) * shrink * scale, _HEAD + (north - latitude) * scale

    step = next(step for step in (0.5, 1, 2, 5, 10, 20) if max(east - west, north - south) / step <= 12)
    for longitude in np.arange(np.ceil(west / step) * step, east, step):
        draw.line([place(longitude, south), place(longitude, north)], fill=_GRATICULE)
        draw.text((place(longitude, south)[0] + 3, height - _MARGIN + 4), f"{longitude:g}°", _INK, small)
    for latitude in np.arange(np.ceil(south / step) * step, north, step):
        draw.line([place(west, latitude), place(east, latitude)], fill=_GRATICULE)
        draw.text((4, place(west, latitude)[1] - 6), f"{latitude:g}°", _INK, small)
    for verdict, footprint in scenes:
        colour = _ACCEPTED if verdict.accepted else _REFUSED
        for polygon in getattr(footprint, "geoms", [footprint]):
            outline = [place(*position[:2]) for position in polygon.exterior.coords]
            draw.polygon(outline, fill=(*colour, 70), outline=colour)
        middle = footprint.representative_point()
        x, y = place(middle.x, middle.y)
        draw.text((x, y), f"{verdict.key.tile}  {verdict.cloud_percent:.0f} %", _INK, small, anchor="mm")
    draw.text((_MARGIN, 10), title, _INK, font)
    return np.asarray(sheet)
